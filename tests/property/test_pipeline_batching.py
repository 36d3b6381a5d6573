"""The pipeline under any batching, re-reading and spread over senders, on real sockets."""

from __future__ import annotations

from collections import defaultdict

import zmq
from hypothesis import given, settings
from hypothesis import strategies as st
from support.change_records import data_change, heartbeat, message

from spanwire._core import Message, Output, Pipeline, Timestamp

TABLES = ("a", "b", "c", "d")
START = Timestamp.parse("2026-11-23T10:00:00Z")


def stamp(second: int) -> str:
    """A timestamp as Spanner writes it."""
    return f"2026-11-23T10:{second // 60:02d}:{second % 60:02d}Z"


# Seconds between a record and the one before it (0: the same timestamp), its table, its number of mods.
RECORDS = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from(TABLES), st.integers(1, 3)), min_size=1, max_size=40
)
# Where the stream breaks and is read again from the newest timestamp seen, and where a heartbeat stands.
BREAKS = st.sets(st.integers(1, 39), max_size=4)
OPTIONS = st.fixed_dictionaries(
    {
        "batch_changes": st.integers(1, 8),
        "batch_delay_ms": st.sampled_from([0, 1, 50]),
        "queue_messages": st.integers(1, 3),
    }
)


class Listener:
    """Hears all senders, and knows what has come."""

    def __init__(self, endpoints: list[str]) -> None:
        self.socket = zmq.Context.instance().socket(zmq.SUB)
        self.socket.setsockopt(zmq.RCVHWM, 0)
        self.socket.subscribe(b"")
        for endpoint in endpoints:
            self.socket.connect(endpoint)
        self.sequences: dict[tuple[str, bytes], list[int]] = defaultdict(list)
        self.versions: dict[str, list[str]] = defaultdict(list)
        senders: set[bytes] = set()
        while len(senders) < len(endpoints):
            senders.add(self.take().partition)

    def take(self) -> Message:
        """The next message, counted if it has changes."""
        assert self.socket.poll(60_000), f"nothing came: {dict(self.versions)}"
        received = Message.decode(self.socket.recv_multipart())
        if received.kind == "changes":
            self.sequences[received.topic, received.partition].append(received.sequence)
            self.versions[received.table] += [str(change.version) for change in received.changes()]
        return received


@settings(max_examples=40, deadline=None)
@given(records=RECORDS, breaks=BREAKS, heartbeats=BREAKS, options=OPTIONS, senders=st.integers(1, 3))
def test_everything_goes_out_once_in_order_whatever_happens(
    records: list[tuple[int, str, int]],
    breaks: set[int],
    heartbeats: set[int],
    options: dict[str, int],
    senders: int,
) -> None:
    """Each change once, each table in order, each flow without holes; the position never runs ahead."""
    second, rows, expected = 1, [], defaultdict(list)
    for number, (step, table, mods) in enumerate(records):
        second += step
        values = [({"Id": str(number)}, {"Name": "x"}, {}) for _ in range(mods)]
        rows.append(
            (
                second,
                data_change(stamp(second), values, table=table, sequence=f"{number:08d}"),
                heartbeat(stamp(second)),
            )
        )
        expected[table] += [f"{Timestamp.parse(stamp(second))}/tx/{number:08d}/{mod}" for mod in range(mods)]
    output = Output("pub", ["tcp://127.0.0.1:*"] * senders, options=options)
    with Pipeline("shop", "all", [output], options={"tick_ms": 10}) as pipeline:
        listener = Listener(pipeline.endpoints[0])
        partition = pipeline.partition("token", dialect="googlesql", epoch=1, start=START)
        for place, (second, row, beat) in enumerate(rows):
            if place in breaks:
                again = partition.restart()
                repeated = [one for at, one, _ in rows[:place] if Timestamp.parse(stamp(at)) >= again]
                assert partition.push([message(*repeated)]).changes == 0
            partition.push([message(row)])
            if place in heartbeats and (place + 1 == len(rows) or rows[place + 1][0] > second):
                partition.push([message(beat)])
            position = partition.position
            assert position is None or position <= Timestamp.parse(stamp(second))
        partition.finish()
        total = sum(map(len, expected.values()))
        while sum(map(len, listener.versions.values())) < total:
            listener.take()
        while not partition.finished:
            listener.take()
        assert partition.position == Timestamp.parse(stamp(second))
        listener.take()
        listener.socket.close(0)
    assert dict(listener.versions) == dict(expected)
    for (topic, _), sequences in listener.sequences.items():
        assert sequences == list(range(len(sequences))), topic
