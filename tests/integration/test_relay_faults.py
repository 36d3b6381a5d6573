"""What a relay does when Spanner answers otherwise than it should: faults put into a simulator's answers."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.cloud.spanner_v1 import PartialResultSet
from integration.relays import Listener, eventually
from integration.test_relay_simulator import reading, settings
from structlog.testing import capture_logs

from spanwire._core import RecordReader, Timestamp, Untyped
from spanwire.config import Config
from spanwire.errors import CorruptError, SourceError, UndecodableError
from spanwire.records import PartitionRecord, State
from spanwire.relay import Relay
from spanwire.relay.keeper import _Running
from spanwire.simulator import Simulator, SimulatorConfig, WorkloadConfig, insert
from spanwire.simulator.queries import ChangeQuery
from spanwire.simulator.status import Refused
from spanwire.source.retry import Backoff
from spanwire.store import SqliteStore

Messages = Iterator[bytes]
Fault = Callable[[ChangeQuery, Messages], Messages]


class Faulty(Simulator):
    """A simulator whose answers go through `fault` first; the initial query has a fault of its own."""

    fault: Fault | None = None
    initial_fault: Fault | None = None

    def read(self, query: ChangeQuery, resume: bytes, active: Callable[[], bool]) -> Messages:
        """The query's messages, with the fault."""
        messages = super().read(query, resume, active)
        faulty = self.fault if query.token is not None else self.initial_fault
        return messages if faulty is None else faulty(query, messages)


@pytest.fixture
def faulty() -> Iterator[Faulty]:
    """Two partitions, a resume token on every other message."""
    with Faulty(SimulatorConfig(partitions=2, resume_every=2, seed=3)) as simulator:
        yield simulator


def states(config: Config) -> list[State]:
    """What the store holds, once its relay has ended."""
    store = SqliteStore(config.store.path, config.source.identity)
    held = [one.state for one in store.load()]
    store.close()
    return held


def failing(code: grpc.StatusCode, text: str) -> Fault:
    """Every query ends with this status before it brings anything."""

    def fault(_query: ChangeQuery, _messages: Messages) -> Messages:
        raise Refused(code, text)
        yield b""

    return fault


def test_streams_that_end_without_children_lose_no_lineage(faulty: Faulty, tmp_path: Path) -> None:
    """A clean end of stream after a few messages finishes nothing: it is read on, and children follow."""
    faulty.fault = lambda _query, messages: itertools.islice(messages, 3)
    config = settings(faulty, tmp_path)
    with Relay(config) as relay, Listener(relay.endpoints[0][0]) as listener:
        reading(relay, 2)
        faulty.workload(WorkloadConfig(changes=60))
        faulty.split(faulty.partitions[0])
        faulty.workload(WorkloadConfig(changes=60))
        listener.wait_for(faulty.changes)
        eventually(lambda: [one["state"] for one in relay.status()["partitions"]] == ["running"] * 3)
        assert sorted(change.canonical() for change in listener.changes) == sorted(faulty.committed())
    assert states(config) == [State.RUNNING] * 3


def test_streams_that_bring_nothing_are_a_problem(faulty: Faulty, tmp_path: Path) -> None:
    """Clean ends without a single record would look healthy; and it heals by itself."""
    with Relay(settings(faulty, tmp_path)) as relay:
        reading(relay, 2)
        faulty.fault = lambda _query, _messages: iter(())
        for one in relay._keeper._running.values():  # type: ignore[union-attr]
            one.reader.interrupt()
        eventually(lambda: any("without anything new" in problem for problem in relay.problems()))
        faulty.fault = None
        eventually(lambda: relay.problems() == [])


def test_an_outage_is_logged_when_it_begins_and_when_it_ends(faulty: Faulty, tmp_path: Path) -> None:
    """One warning and one word that it goes on for each partition, whatever the number of attempts."""
    attempts: Counter[str] = Counter()

    def fault(query: ChangeQuery, _messages: Messages) -> Messages:
        attempts[str(query.token)] += 1
        raise Refused(grpc.StatusCode.UNAVAILABLE, "passing")
        yield b""

    with capture_logs() as lines, Relay(settings(faulty, tmp_path)) as relay:
        reading(relay, 2)
        faulty.fault = fault
        for one in relay._keeper._running.values():  # type: ignore[union-attr]
            one.reader.interrupt()
        eventually(lambda: len(attempts) == 2 and min(attempts.values()) >= 3)
        faulty.fault = None
        eventually(lambda: relay.problems() == [])
        eventually(lambda: len(said(lines, "goes on")) == 2)
        began = said(lines, "was interrupted")
    assert sorted(line["log_level"] for line in began if line["log_level"] != "debug") == ["warning"] * 2
    assert len(began) > 4


def said(lines: Sequence[Mapping[str, Any]], words: str) -> list[Mapping[str, Any]]:
    """The lines of the log with these words."""
    return [line for line in lines if words in line["event"]]


def test_passing_faults_are_waited_out(faulty: Faulty, tmp_path: Path) -> None:
    """The streams break now and then, with every status that may pass."""
    codes = itertools.cycle(
        [
            grpc.StatusCode.UNAVAILABLE,
            grpc.StatusCode.ABORTED,
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            grpc.StatusCode.INTERNAL,
            grpc.StatusCode.UNKNOWN,
            grpc.StatusCode.DEADLINE_EXCEEDED,
        ]
    )

    def fault(_query: ChangeQuery, messages: Messages) -> Messages:
        yield from itertools.islice(messages, 4)
        raise Refused(next(codes), "passing")

    faulty.fault = fault
    with Relay(settings(faulty, tmp_path)) as relay, Listener(relay.endpoints[0][0]) as listener:
        reading(relay, 2)
        for _ in range(30):
            faulty.workload(WorkloadConfig(changes=5))
            time.sleep(0.02)
        listener.wait_for(faulty.changes)
        assert sorted(change.canonical() for change in listener.changes) == sorted(faulty.committed())


def test_a_stream_that_ends_inside_of_a_value_is_read_again(tmp_path: Path) -> None:
    """A server that goes away may end its stream cleanly wherever it is: the value comes again, whole."""
    cuts = itertools.count()

    def fault(_query: ChangeQuery, messages: Messages) -> Messages:
        for message in messages:
            yield message
            if PartialResultSet.deserialize(message).chunked_value and next(cuts) < 12:
                return

    config = SimulatorConfig(partitions=2, chunk_bytes=200, chop=2, resume_every=3, seed=3)
    with Faulty(config) as faulty:
        faulty.fault = fault
        with Relay(settings(faulty, tmp_path)) as relay, Listener(relay.endpoints[0][0]) as listener:
            reading(relay, 2)
            faulty.workload(WorkloadConfig(changes=120))
            listener.wait_for(faulty.changes)
            assert sorted(change.canonical() for change in listener.changes) == sorted(faulty.committed())
        assert next(cuts) > 12


def test_streams_that_always_end_inside_of_the_same_value_end_the_relay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not tried for ever: nothing new comes of it."""
    monkeypatch.setattr("spanwire.source.reader.Backoff", _quick)

    def fault(_query: ChangeQuery, messages: Messages) -> Messages:
        for message in messages:
            yield message
            if PartialResultSet.deserialize(message).chunked_value:
                return

    with Faulty(SimulatorConfig(partitions=1, chunk_bytes=200, seed=3)) as faulty:
        faulty.fault = fault
        with (
            pytest.raises(SourceError, match="in the middle of a chunked value; given up after"),
            Relay(settings(faulty, tmp_path)) as relay,
        ):
            reading(relay, 1)
            faulty.commit([insert("accounts", id=1, name="A" * 5000)])
            relay.wait(60)


def test_an_unclear_fault_without_progress_ends_the_relay(
    faulty: Faulty, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """INTERNAL for ever is no passing fault."""
    faulty.fault = failing(grpc.StatusCode.INTERNAL, "broken for good")
    monkeypatch.setattr("spanwire.source.reader.Backoff", _quick)
    with (
        pytest.raises(SourceError, match="broken for good; given up after 10 attempts without progress"),
        Relay(settings(faulty, tmp_path)) as relay,
    ):
        relay.wait(60)


def _quick() -> Backoff:
    return Backoff(first_s=0.01, most_s=0.05)


def test_a_lost_session_is_replaced(faulty: Faulty, tmp_path: Path) -> None:
    """Spanner forgets sessions; the relay makes a new one and goes on."""
    with Relay(settings(faulty, tmp_path)) as relay, Listener(relay.endpoints[0][0]) as listener:
        reading(relay, 2)
        lost = [True, True]

        def fault(_query: ChangeQuery, messages: Messages) -> Messages:
            if lost:
                lost.pop()
                raise Refused(grpc.StatusCode.NOT_FOUND, "Session not found: projects/p/sessions/1")
            return messages

        faulty.fault = lambda query, messages: (yield from fault(query, messages))
        faulty.commit([insert("accounts", id=1, name="Ada")])
        for one in relay._keeper._running.values():  # type: ignore[union-attr]
            one.reader.interrupt()
        listener.wait_for(1)
        eventually(lambda: not lost)
        eventually(lambda: relay.problems() == [])


@pytest.mark.parametrize(
    "garble",
    [
        lambda message: message[: len(message) // 2],
        lambda _: b"\xff" * 40,
        lambda m: m.replace(b"1", b"\xfe"),
    ],
    ids=["truncated", "garbage", "not UTF-8"],
)
def test_a_corrupt_response_ends_the_relay_in_one_line(
    faulty: Faulty, tmp_path: Path, garble: Callable[[bytes], bytes]
) -> None:
    """It is not tried again: the same would come; and nothing of it counts as done."""
    config = settings(faulty, tmp_path)
    with pytest.raises(SourceError) as caught, Relay(config) as relay:
        reading(relay, 2)
        before = min(one["position"] for one in relay.status()["partitions"])
        faulty.fault = lambda _query, messages: map(garble, messages)
        for one in relay._keeper._running.values():  # type: ignore[union-attr]
            one.reader.interrupt()
        faulty.commit([insert("accounts", id=1, name="Ada")])
        relay.wait(60)
    assert isinstance(caught.value, (CorruptError, UndecodableError))
    assert "\n" not in str(caught.value)
    assert states(config) == [State.RUNNING] * 2
    assert before


def test_an_undecodable_change_ends_the_relay_with_its_version(faulty: Faulty, tmp_path: Path) -> None:
    """And without its row; progress stays before it, so that nothing is skipped."""
    faulty.fault = lambda _query, messages: (m.replace(b'"SECRET"', b'"SECRET,') for m in messages)
    config = settings(faulty, tmp_path)
    with pytest.raises(UndecodableError) as caught, Relay(config) as relay:
        reading(relay, 2)
        commit = faulty.commit([insert("accounts", id=1, name="SECRET")])
        relay.wait(60)
    assert str(commit.changes) == "1"
    assert "accounts" in str(caught.value)
    assert "SECRET" not in str(caught.value)
    assert "cannot decode change 20" in str(caught.value)
    assert 'source.on_undecodable = "dead-letter"' in str(caught.value)
    store = SqliteStore(config.store.path, config.source.identity)
    positions = [str(one.resume_at) for one in store.load()]
    store.close()
    assert min(positions) < caught.value.fields["version"][:30]


def test_an_undecodable_change_goes_to_the_dead_letters_where_asked(faulty: Faulty, tmp_path: Path) -> None:
    """The relay goes on with the next."""
    faulty.fault = lambda _query, messages: (m.replace(b'"SECRET"', b'"SECRET,') for m in messages)
    config = settings(faulty, tmp_path, on_undecodable="dead-letter")
    with Relay(config) as relay, Listener(relay.endpoints[0][0]) as listener:
        reading(relay, 2)
        faulty.commit([insert("accounts", id=1, name="SECRET")])
        faulty.commit([insert("accounts", id=2, name="Ada")])
        listener.wait_for(1)
        assert [change.keys["id"] for change in listener.changes] == [2]
        assert relay.stats()["undecodable"] == 1
        assert relay.problems() == []


@pytest.mark.parametrize(("on_misfit", "keys", "letters"), [("text", [1, 2], 0), ("dead-letter", [2], 1)])
def test_a_value_that_does_not_fit_goes_where_it_is_told_to(
    faulty: Faulty, tmp_path: Path, on_misfit: str, keys: list[int], letters: int
) -> None:
    """As text that is no value, or its record raw; either way it is counted and the relay goes on."""
    faulty.fault = lambda _query, messages: (m.replace(b'"SECRET"', b"12345678") for m in messages)
    config = settings(faulty, tmp_path, on_misfit=on_misfit)
    with Relay(config) as relay, Listener(relay.endpoints[0][0]) as listener:
        reading(relay, 2)
        faulty.commit([insert("accounts", id=1, name="SECRET")])
        faulty.commit([insert("accounts", id=2, name="Ada")])
        listener.wait_for(len(keys))
        assert sorted(change.keys["id"] for change in listener.changes) == keys
        for change in listener.changes:
            wanted = Untyped("12345678", "STRING") if change.keys["id"] == 1 else "Ada"
            assert change.new["name"] == wanted
        stats = relay.stats()
        assert (stats["misfits"], stats["dead_letters"], stats["undecodable"]) == (1, letters, 0)
        assert relay.problems() == []


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (grpc.StatusCode.PERMISSION_DENIED, "grant the relay's identity"),
        (grpc.StatusCode.UNAUTHENTICATED, "renew them"),
        (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT"),
    ],
)
def test_lasting_faults_end_the_relay_at_once(
    faulty: Faulty, tmp_path: Path, code: grpc.StatusCode, said: str
) -> None:
    """Rights that were taken away, a token that is not valid any more: one line, not a loop."""
    asked: Counter[str | None] = Counter()

    def fault(query: ChangeQuery, _messages: Messages) -> Messages:
        asked[query.token] += 1
        raise Refused(code, "said by Spanner")
        yield b""

    faulty.fault = fault
    with pytest.raises(SourceError, match=said), Relay(settings(faulty, tmp_path)) as relay:
        relay.wait(60)
    assert set(asked.values()) == {1}


def stored_every(config: Config, interval_ms: int) -> Config:
    """The same relay, its progress stored at this interval."""
    return config.model_copy(update={"store": config.store.model_copy(update={"interval_ms": interval_ms})})


def test_a_new_relay_reads_at_once(faulty: Faulty, tmp_path: Path) -> None:
    """However seldom progress is stored."""
    with Relay(stored_every(settings(faulty, tmp_path), 60_000)) as relay:
        reading(relay, 2)  # waits for less than that


def test_a_silent_initial_query_does_not_hold_up_a_stop(faulty: Faulty, tmp_path: Path) -> None:
    """Spanner has taken the query and says nothing: stopping ends it."""
    asked, over = threading.Event(), threading.Event()
    faulty.initial_fault = silent(asked, over)
    relay = Relay(settings(faulty, tmp_path))
    relay.start()
    assert asked.wait(60)
    stopping = threading.Thread(target=relay.stop, args=(1.0,), daemon=True)
    stopping.start()
    stopping.join(60)
    still = stopping.is_alive()
    over.set()
    assert not still
    assert relay.wait(0)


def test_a_silent_initial_query_is_a_problem_and_asked_again(
    faulty: Faulty, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes moments where Spanner is well, so it does not wait for ever."""
    monkeypatch.setattr("spanwire.source.initial._PATIENCE_S", 0.5)
    asked, over = threading.Event(), threading.Event()
    faulty.initial_fault = silent(asked, over)
    with Relay(settings(faulty, tmp_path)) as relay:
        eventually(lambda: any("first partitions" in problem for problem in relay.problems()))
        faulty.initial_fault = None
        over.set()
        reading(relay, 2)
        assert relay.problems() == []


def silent(asked: threading.Event, over: threading.Event) -> Fault:
    """The query is taken, and nothing is said until it is over."""

    def fault(_query: ChangeQuery, _messages: Messages) -> Messages:
        asked.set()
        over.wait(120)
        yield from ()

    return fault


def test_progress_is_stored_when_several_partitions_fail_at_once(faulty: Faulty, tmp_path: Path) -> None:
    """The second failure does not keep back what was handed over before."""
    config = stored_every(settings(faulty, tmp_path), 60_000)
    broken = threading.Event()

    def fault(_query: ChangeQuery, messages: Messages) -> Messages:
        for message in messages:
            yield b"\xff\xff\xff" if broken.is_set() else message

    faulty.fault = fault
    with pytest.raises(CorruptError), Relay(config) as relay:
        reading(relay, 2)
        eventually(lambda: relay.stats()["heartbeats"] >= 4)
        eventually(lambda: all(one.partition.position for one in running(relay)))
        running(relay)[0].reader.stop = running(relay)[1].reader.stop = lambda: None  # type: ignore[method-assign]
        broken.set()
        relay.wait(60)
    assert all(one.position is not None for one in held(config))


def running(relay: Relay) -> list[_Running]:
    """The partitions that are being read."""
    assert relay._keeper is not None
    return list(relay._keeper._running.values())


def held(config: Config) -> list[PartitionRecord]:
    """What the store holds, once its relay has ended."""
    store = SqliteStore(config.store.path, config.source.identity)
    partitions = store.load()
    store.close()
    return partitions


@pytest.mark.parametrize("breaks", [False, True], ids=["ends", "breaks"])
def test_a_stream_that_ends_between_two_children_loses_neither(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, breaks: bool
) -> None:
    """Each child may come in a record of its own; a clean end behind the first is not the partition's.

    Nor is one behind a break after the first.
    """
    monkeypatch.setattr("spanwire.source.reader.Backoff", _quick)
    config = SimulatorConfig(partitions=1, message_bytes=0, resume_every=1, seed=3)
    cuts: list[str] = []
    queries: list[ChangeQuery] = []

    def fault(query: ChangeQuery, messages: Messages) -> Messages:
        queries.append(query)
        if query.token != parent:
            yield from messages
            return
        if cuts == ["broken"]:
            cuts.append("ended")
            return
        reader = RecordReader("googlesql")
        for message in messages:
            yield message
            if not cuts and any("child_partitions_record" in one for one in reader.read([message])):
                cuts.append("broken" if breaks else "ended")
                if breaks:
                    raise Refused(grpc.StatusCode.UNAVAILABLE, "passing")
                return

    with Faulty(config) as simulator:
        [parent] = simulator.partitions
        simulator.fault = fault
        with Relay(settings(simulator, tmp_path)) as relay, Listener(relay.endpoints[0][0]) as listener:
            reading(relay, 1)
            simulator.split(parent)
            eventually(lambda: len(relay.status()["partitions"]) == 2)
            simulator.workload(WorkloadConfig(changes=60))
            listener.wait_for(60)
            assert sorted(change.canonical() for change in listener.changes) == sorted(simulator.committed())
        assert cuts[-1] == "ended"


@pytest.mark.parametrize("refused", [False, True], ids=["answered", "refused"])
def test_a_partitions_end_costs_one_more_query(faulty: Faulty, tmp_path: Path, refused: bool) -> None:
    """From the children's start on, to see that there are no more; Spanner may refuse its very end."""
    queries: list[ChangeQuery] = []

    def fault(query: ChangeQuery, messages: Messages) -> Messages:
        queries.append(query)
        if refused and [one.token for one in queries].count(query.token) > 1:
            raise Refused(grpc.StatusCode.OUT_OF_RANGE, "Specified start_timestamp is invalid.")
        yield from messages

    faulty.fault = fault
    with Relay(settings(faulty, tmp_path)) as relay, Listener(relay.endpoints[0][0]) as listener:
        reading(relay, 2)
        parent = faulty.partitions[0]
        faulty.split(parent)
        eventually(lambda: len(relay.status()["partitions"]) == 3)
        eventually(lambda: len({one.token for one in queries}) == 4)
        faulty.workload(WorkloadConfig(changes=60))
        listener.wait_for(60)
        assert sorted(change.canonical() for change in listener.changes) == sorted(faulty.committed())
        assert relay.problems() == []
    assert len(queries) == 5
    assert [one.token for one in queries].count(parent) == 2


def test_one_empty_stream_does_not_end_a_bounded_read(faulty: Faulty, tmp_path: Path) -> None:
    """A server that goes away at the first query has not read the range."""
    start = str(Timestamp.now())
    faulty.workload(WorkloadConfig(changes=60))
    time.sleep(0.05)
    end = str(Timestamp.now())
    faulty.fault = empty(1)
    with Relay(settings(faulty, tmp_path, start=start, end=end)) as relay:
        assert relay.wait(60)
        assert relay.stats()["changes"] == 60


def test_a_bounded_run_that_read_nothing_stores_no_position(faulty: Faulty, tmp_path: Path) -> None:
    """Otherwise the next run would take what was committed at the very start for handed over."""
    faulty.workload(WorkloadConfig(changes=60))
    time.sleep(0.05)
    start = json.loads(next(iter(faulty.committed())))["version"].split("/")[0]
    end = str(Timestamp.now())
    faulty.fault = empty(1000)
    config = settings(faulty, tmp_path, start=start, end=end)
    with Relay(config) as relay:
        assert relay.wait(60)
    assert [one.position for one in held(config)] == [None, None]
    faulty.fault = None
    with Relay(config) as relay:
        assert relay.wait(60)
        assert relay.stats()["changes"] == 60


def empty(times: int) -> Fault:
    """The first streams of each partition end cleanly before they bring anything."""
    ended: Counter[str | None] = Counter()

    def fault(query: ChangeQuery, messages: Messages) -> Messages:
        ended[query.token] += 1
        if ended[query.token] > times:
            yield from messages

    return fault
