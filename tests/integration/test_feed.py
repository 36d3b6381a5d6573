"""A feed as peers see it: real sockets, and peers written by hand from the schema's requests and replies."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import zmq
from support.change_records import data_change, heartbeat, message
from support.waiting import soon

from spanwire._core import Message, Output, Partition, Pipeline, Timestamp, decode_reply, encode_request

START = Timestamp.parse("2026-11-23T00:00:00Z")
NAME = "x" * 20_000
ALL = 1 << 40
"""More credit than any test uses."""
STREAM = bytes(range(16))


def stamp(second: int) -> str:
    """A timestamp as Spanner writes it."""
    return f"2026-11-23T00:{second // 60:02d}:{second % 60:02d}Z"


def row(second: int, table: str = "orders", times: int = 1) -> bytes:
    """One insert of 20 kB, or so many times that, and the heartbeat behind it."""
    return message(
        data_change(stamp(second), [({"Id": str(second)}, {"Name": NAME * times}, {})], table=table),
        heartbeat(stamp(second)),
    )


@dataclass
class Answer:
    """One reply, and the message in it."""

    kind: str
    id: int
    fields: dict[str, Any]
    frames: list[bytes]

    @property
    def size(self) -> int:
        """What it takes of the credit."""
        return sum(map(len, self.frames))

    @property
    def message(self) -> Message:
        """The message."""
        return Message.decode(self.frames)


class Peer:
    """A DEALER, and nothing of the consumer library."""

    def __init__(self, pipeline: Pipeline, high_water_mark: int = 0) -> None:
        self.socket = zmq.Context.instance().socket(zmq.DEALER)
        self.socket.linger = 0
        self.socket.rcvhwm = high_water_mark
        self.socket.connect(pipeline.endpoints[0][0])

    def says(self, kind: str, id: int, **fields: Any) -> None:
        """Send a request."""
        self.socket.send(encode_request(kind, id, **fields))

    def hears(self, timeout: float = 60.0) -> Answer:
        """The next reply."""
        assert self.socket.poll(timeout * 1000), "no reply came"
        head, *frames = self.socket.recv_multipart()
        fields = decode_reply(head)
        return Answer(fields["kind"], fields["id"], fields, frames)

    def changes(self) -> Answer:
        """The next message of changes; welcomes and ticks on the way are left out."""
        while (answer := self.hears()).kind != "message" or answer.message.kind == "tick":
            assert answer.kind in ("welcome", "message"), answer
        return answer

    def silent(self) -> bool:
        """Whether nothing comes any more."""
        return not self.socket.poll(200)


@contextmanager
def feeding(**options: int) -> Iterator[tuple[Pipeline, Partition]]:
    """A feed of one row a message, and its one partition."""
    output = Output("feed", ["tcp://127.0.0.1:*"], options={"batch_bytes": 1} | options)
    with Pipeline("d", "s", [output], stream_id=STREAM, options={"tick_ms": 1_000}) as pipeline:
        yield pipeline, pipeline.partition("token", dialect="googlesql", epoch=7, start=START)


@contextmanager
def peers(pipeline: Pipeline, count: int, **more: int) -> Iterator[list[Peer]]:
    """So many peers."""
    connected = [Peer(pipeline, **more) for _ in range(count)]
    try:
        yield connected
    finally:
        for one in connected:
            one.socket.close(0)


def feeds(pipeline: Pipeline) -> dict[str, Any]:
    """What the feed has counted."""
    counted: dict[str, Any] = pipeline.stats()["feeds"][0]
    return counted


def test_a_feed_sends_what_comes_from_now_on_of_its_topics() -> None:
    """With a complete tick at its beginning, so that a consumer knows at once where everything stands."""
    with feeding() as (pipeline, partition), peers(pipeline, 1) as [peer]:
        partition.push([row(1)])
        assert pipeline.drain(60)
        peer.says("feed", 1, credit=ALL, topics=["d/s/orders/"], stream=STREAM)
        welcome = peer.hears()
        assert (welcome.kind, welcome.fields["stream"]) == ("welcome", STREAM)
        assert welcome.fields["oldest"] == Timestamp.parse(stamp(1))
        tick = peer.hears().message.tick()
        assert tick["complete"]
        assert [(flow["topic"], flow["next"]) for flow in tick["flows"]] == [("d/s/orders/", 1)]
        for second in range(2, 12):
            partition.push([row(second, "orders" if second % 2 else "items")])
        heard = [peer.changes() for _ in range(5)]
        assert {one.id for one in heard} == {1}
        assert [one.message.sequence for one in heard] == [1, 2, 3, 4, 5]
        assert [one.message.changes()[0].keys["Id"] for one in heard] == [3, 5, 7, 9, 11]
        partition.finish()
        assert soon(lambda: partition.finished), "what is in the ring is handed over"


def test_credit_is_kept_to_the_byte() -> None:
    """All but the last message are within it; nothing more comes until it rises."""
    with feeding() as (pipeline, partition), peers(pipeline, 1) as [peer]:
        peer.says("feed", 1, credit=ALL, topics=["d/"])
        assert peer.hears().kind == "welcome"
        partition.push([row(0)])
        each = peer.changes().size
        peer.says("cancel", 1)
        peer.says("feed", 2, topics=["nothing"])
        while (answer := peer.hears()).kind != "welcome":
            assert answer.kind == "message"
        peer.says("cancel", 2)
        peer.says("feed", 3, credit=1, topics=["d/s/orders/"])
        assert peer.hears().kind == "welcome"
        for second in range(1, 31):
            partition.push([row(second)])
        assert pipeline.drain(60)
        received, credit = 0, 1
        heard: list[int] = []
        while len(heard) < 30:
            while peer.socket.poll(50):
                answer = peer.hears()
                assert received < credit, "it had no credit"
                received += answer.size
                if answer.message.kind == "changes":
                    heard.append(answer.message.sequence)
            credit = received + 3 * each
            peer.says("credit", 3, credit=credit)
        assert heard == list(range(1, 31))
        assert feeds(pipeline)["credit_waits"] >= 5


def test_a_repair_gives_the_very_messages() -> None:
    """Byte for byte those of the feed, and then says that it is done; what is gone is said to be gone."""
    with feeding(ring_bytes=300_000) as (pipeline, partition), peers(pipeline, 1) as [peer]:
        peer.says("feed", 1, credit=ALL, topics=["d/"])
        assert peer.hears().kind == "welcome"
        heard = []
        for second in range(30):
            partition.push([row(second)])
            heard.append(peer.changes())
        one = heard[-1].message
        asked = {
            "credit": ALL,
            "topics": [one.topic],
            "incarnation": one.incarnation,
            "partition": one.partition,
            "epoch": one.epoch,
        }
        peer.says("cancel", 1)
        peer.says("repair", 2, first=25, last=28, **asked)
        answers = [peer.hears() for _ in range(5)]
        while answers[0].id == 1:
            answers = [*answers[1:], peer.hears()]
        assert [answer.kind for answer in answers] == ["message"] * 4 + ["done"]
        assert [answer.frames for answer in answers[:4]] == [sent.frames for sent in heard[25:29]]
        peer.says("repair", 3, first=0, last=28, **asked)
        gone = peer.hears()
        assert (gone.kind, gone.id, gone.fields["reason"]) == ("refused", 3, "gone")
        assert gone.fields["oldest"] is not None
        peer.says("repair", 4, first=25, last=28, **asked | {"incarnation": one.incarnation ^ 1})
        assert peer.hears().fields["reason"] == "gone"
        assert soon(lambda: feeds(pipeline)["refused"]["gone"] == 2)


def test_a_slow_peer_loses_nothing_of_others() -> None:
    """One that reads nothing and one that gives no credit hold up neither the source nor the others."""
    options = {"ring_bytes": 4 << 20, "high_water_mark": 2, "silence_ms": 600_000}
    with (
        feeding(**options) as (pipeline, partition),
        peers(pipeline, 2) as [quick, stingy],
        peers(pipeline, 1, high_water_mark=1) as [stuck],
    ):
        for one, credit in ((quick, ALL), (stingy, 0), (stuck, ALL)):
            one.says("feed", 1, credit=credit, topics=["d/s/orders/"])
            assert one.hears().kind == "welcome"
        heard: list[int] = []
        # Far more than a connection holds, and more than the ring.
        for second in range(200):
            partition.push([row(second, times=8)])
            heard.append(quick.changes().message.sequence)
        assert heard == list(range(200))
        assert soon(lambda: feeds(pipeline)["full"] > 0)
        stingy.says("credit", 1, credit=ALL)
        late = stingy.changes().message.sequence
        assert 0 < late < 200
        rest = [stingy.changes().message.sequence for _ in range(199 - late)]
        assert rest == list(range(late + 1, 200))
        assert soon(lambda: feeds(pipeline)["missed"] >= late)
        last = stuck.changes().message.sequence
        while last < 199:
            after = stuck.changes().message.sequence
            assert after > last
            last = after


def test_whatever_is_no_request_is_refused_counted_and_without_effect() -> None:
    """Garbage, several frames, too many bytes, kinds that are not served; the others hear nothing of it."""
    with feeding() as (pipeline, partition), peers(pipeline, 2) as [good, bad]:
        good.says("feed", 1, credit=ALL, topics=["d/s/orders/"])
        assert good.hears().kind == "welcome"
        bad.socket.send(b"garbage")
        bad.socket.send_multipart([b"", encode_request("hello", 1)])
        bad.socket.send(bytes(200_000))
        bad.says("snapshot", 2)
        bad.says("hello", 3, stream=bytes(16))
        bad.says("ack", 4)
        bad.says("credit", 9)
        reasons = [bad.hears().fields["reason"] for _ in range(7)]
        assert reasons == [
            "malformed",
            "malformed",
            "tooLarge",
            "unknownKind",
            "otherStream",
            "unknownKind",
            "neverSent",
        ]
        bad.says("hello", 4)
        assert bad.hears().kind == "welcome", "it is still served"
        bad.socket.send(bytes(1 << 20))  # so large that its connection is given up
        partition.push([row(1)])
        assert good.changes().message.sequence == 0
        expected = {"malformed": 2, "tooLarge": 1, "unknownKind": 2, "otherStream": 1, "neverSent": 1}
        assert soon(lambda: {why: n for why, n in feeds(pipeline)["refused"].items() if n} == expected)


def test_more_connections_than_allowed_are_refused() -> None:
    """Until one of them is gone."""
    with feeding(connections=2) as (pipeline, partition), peers(pipeline, 3) as [one, two, three]:
        for peer in (one, two):
            peer.says("feed", 1, credit=ALL, topics=["d/"])
            assert peer.hears().kind == "welcome"
        three.says("feed", 1, credit=ALL, topics=["d/"])
        refused = three.hears()
        assert (refused.kind, refused.fields["reason"]) == ("refused", "tooMany")
        assert "2 peers" in refused.fields["text"]
        assert soon(lambda: feeds(pipeline)["peers"] == 2)
        partition.push([row(1)])
        assert one.changes().message.sequence == 0
        two.socket.close(0)
        # It is noticed when something is sent to it: a tick at the latest.
        assert soon(lambda: feeds(pipeline)["peers"] == 1)
        three.says("feed", 2, credit=ALL, topics=["d/"])
        assert three.hears().kind == "welcome"


_SUBPROCESS = """
import sys, time, zmq
from spanwire._core import encode_request
socket = zmq.Context.instance().socket(zmq.DEALER)
socket.connect(sys.argv[1])
socket.send(encode_request("feed", 1, credit=1 << 40, topics=["d/"]))
socket.recv()
print("connected", flush=True)
time.sleep(600)
"""


def test_a_killed_peer_is_forgotten() -> None:
    """At the next thing that is to be sent to it."""
    with feeding() as (pipeline, partition):
        command = [sys.executable, "-c", _SUBPROCESS, pipeline.endpoints[0][0]]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
            try:
                assert process.stdout is not None
                assert process.stdout.readline() == b"connected\n"
                assert soon(lambda: feeds(pipeline)["peers"] == 1)
            finally:
                process.kill()
        partition.push([row(1)])
        assert soon(lambda: feeds(pipeline)["peers"] == 0)
        assert feeds(pipeline)["silent"] == 0


def test_a_silent_peer_is_told_and_forgotten() -> None:
    """Also one that there is nothing to send to."""
    with feeding(silence_ms=300) as (pipeline, _), peers(pipeline, 1) as [silent]:
        silent.says("feed", 1, credit=0, topics=["d/"])
        assert silent.hears().kind == "welcome"
        told = silent.hears()
        assert (told.kind, told.id, told.fields["reason"]) == ("refused", 1, "busy")
        assert soon(lambda: feeds(pipeline)["peers"] == 0)
        assert feeds(pipeline)["silent"] == 1


def test_an_idle_feed_sleeps() -> None:
    """On its socket and on the ring: it wakes for a tick a second, and for hardly any other reason."""
    with feeding() as (pipeline, _), peers(pipeline, 2) as [peer, stingy]:
        stingy.says("feed", 1, credit=0, topics=["d/"])
        assert stingy.hears().kind == "welcome"
        peer.says("feed", 1, credit=ALL, topics=["d/"])
        assert peer.hears().kind == "welcome"
        peer.hears()
        before = feeds(pipeline)["wakes"]
        for _ in range(3):
            assert peer.hears().message.kind == "tick"
        assert feeds(pipeline)["wakes"] - before < 20


def test_what_there_is_credit_for_goes_out_before_the_end() -> None:
    """Closing sends what is queued, the last tick included."""
    with feeding() as (pipeline, partition), peers(pipeline, 1) as [peer]:
        peer.says("feed", 1, credit=ALL, topics=["d/"])
        assert peer.hears().kind == "welcome"
        for second in range(1, 21):
            partition.push([row(second)])
        assert pipeline.drain(60)
        pipeline.close()
        assert [peer.changes().message.sequence for _ in range(20)] == list(range(20))
        last = peer.hears()
        while peer.socket.poll(200):
            last = peer.hears()
        assert [flow["next"] for flow in last.message.tick()["flows"]] == [20]
