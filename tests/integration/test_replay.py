"""Replay from Spanner: what was sent comes again, change by change, and the live flow does not notice."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import zmq
from integration.emulator import DIALECTS, INSTANCE, PROJECT, Dialect, Emulator
from integration.relays import STREAM, TABLE, Listener, eventually
from integration.test_relay_simulator import FORMS, reading
from structlog.testing import capture_logs
from support.ports import free_port

from spanwire import Subscriber, replay
from spanwire._core import Change, Message, Timestamp
from spanwire.config import Config, load, parse
from spanwire.consumer.link import Answer, Link
from spanwire.errors import RefusedError, RetentionExpired
from spanwire.relay import Relay, rereading
from spanwire.relay.answering import stream_id
from spanwire.relay.rereading import Range, Rereading
from spanwire.simulator import Simulator, SimulatorConfig, WorkloadConfig
from spanwire.source.connect import connect
from spanwire.source.reader import Reader

WAIT_MS = 60_000


def settings(
    simulator: Simulator, folder: Path, outputs: list[dict[str, Any]] | None = None, **replays: Any
) -> Config:
    """A relay of the simulator's stream with these outputs, and one to replay from."""
    config = simulator.config
    outputs = outputs or [{"kind": "pub", "bind": "tcp://127.0.0.1:*"}]
    return parse(
        {
            "source": {
                "project": config.project,
                "instance": config.instance,
                "database": config.database,
                "stream": config.stream,
                "emulator_host": simulator.address,
                "heartbeat_ms": 100,
                "connect_timeout_s": 30,
            },
            "store": {"path": str(folder / "progress.db"), "interval_ms": 100},
            "output": [*outputs, {"kind": "replay", "bind": "tcp://127.0.0.1:*", **replays}],
        }
    )


@pytest.fixture(params=FORMS, ids="-".join)
def churning(request: pytest.FixtureRequest) -> Iterator[Simulator]:
    """Splits, merges, moves, values cut at arbitrary places."""
    dialect, mode = request.param
    config = SimulatorConfig(
        dialect=dialect, mode=mode, partitions=4, churn=60, chop=3, chunk_bytes=500, seed=7
    )
    with Simulator(config) as simulator:
        yield simulator


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    """A plain stream."""
    with Simulator(SimulatorConfig(partitions=3, seed=3)) as one:
        yield one


def caught_up(relay: Relay, listener: Listener, simulator: Simulator) -> None:
    """Wait until all that was committed has come, and the relay knows that it is complete up to there."""
    listener.wait_for(simulator.changes)
    newest = max(change.commit_timestamp for change in listener.changes)
    eventually(lambda: Timestamp.parse(relay.status()["watermark"]) >= newest)


def between(changes: list[Change], after: Timestamp, until: Timestamp) -> list[str]:
    """The canonical changes of a range."""
    return sorted(one.canonical() for one in changes if after < one.commit_timestamp <= until)


def test_a_replay_equals_the_original_while_the_live_flow_goes_on(
    churning: Simulator, tmp_path: Path
) -> None:
    """Any range, cut anywhere: the same changes once each, per row in order; live changes come as ever."""
    with Relay(settings(churning, tmp_path)) as relay, Listener(relay.endpoints[0][0]) as listener:
        reading(relay, 4)
        churning.workload(WorkloadConfig(changes=600))
        caught_up(relay, listener, churning)
        original = list(listener.changes)
        stamps = sorted(one.commit_timestamp for one in original)
        after, until = stamps[len(stamps) // 5], stamps[-len(stamps) // 5]
        churning.workload(WorkloadConfig(changes=100))
        with replay(relay.endpoints[1][0], after=after, until=until) as replayed:
            again = []
            for change in replayed:
                again.append(change)
                if len(again) == 20:
                    churning.workload(WorkloadConfig(changes=100))
        assert replayed.position == until
        assert sorted(one.canonical() for one in again) == between(original, after, until)
        assert len(again) > 100
        newest: dict[tuple[str, str], Any] = {}
        for one in again:
            row = (one.table, str(sorted(one.keys.items())))
            assert row not in newest or newest[row] < one.version
            newest[row] = one.version
        listener.wait_for(churning.changes)
        assert sorted(one.canonical() for one in listener.changes) == sorted(churning.committed())
        eventually(lambda: relay.status()["replay"][0]["replays"]["served"] == 1)


@pytest.mark.parametrize("seed", [1, 2, 5])
def test_positions_are_told_behind_what_they_speak_of(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of a partition that waits to be read: its first changes may be at its start itself."""
    monkeypatch.setattr(rereading, "_LOOK_S", 0.0)
    monkeypatch.setattr(rereading, "_WAIT_S", 0.0)
    reading = Reader._read

    def late(reader: Reader) -> Any:
        if reader._job.record.parents:
            time.sleep(0.1)
        return reading(reader)

    monkeypatch.setattr(Reader, "_read", late)
    config = SimulatorConfig(mode="mutable", partitions=3, churn=20, seed=seed)
    with Simulator(config) as simulator:
        after = Timestamp.now()
        simulator.workload(WorkloadConfig(changes=400))
        until = Timestamp.now()
        settled = settings(simulator, tmp_path)
        with closing(connect(settled.source)) as connection:
            came = []
            for read in Rereading(settled, connection, Range(after, until, 0)):
                for frames in read.messages:
                    for change in Message.decode(frames).changes():
                        assert change.commit_timestamp > read.position
                        came.append(change.canonical())
        assert sorted(came) == sorted(simulator.committed())


def test_who_joins_a_relay_that_goes_on_gets_what_the_one_before_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a partition that was over before no tick tells, while the one that it merges with is behind."""
    gate, slow = threading.Event(), ""
    reading = Reader._read

    def held(reader: Reader) -> Any:
        while reader._job.record.token == slow and not (gate.wait(0.01) or reader._stop.is_set()):
            pass
        return reading(reader)

    monkeypatch.setattr(Reader, "_read", held)
    with Simulator(SimulatorConfig(partitions=2, seed=3)) as simulator:
        begin = Timestamp.now()
        slow = simulator.partitions[1]
        simulator.workload(WorkloadConfig(changes=200))
        simulator.merge(simulator.partitions)
        outputs = [{"kind": "feed", "bind": "tcp://127.0.0.1:*"}]
        config = settings(simulator, tmp_path, outputs)
        source = config.source.model_copy(update={"start": str(begin)})
        config = config.model_copy(update={"source": source})
        with Relay(config) as first:
            eventually(
                lambda: [one["state"] for one in first.status()["partitions"]] == ["running", "created"]
            )
        with (
            Relay(config) as second,
            Subscriber(second.endpoints[0], kind="feed", replay=second.endpoints[1], start=begin) as late,
        ):
            assert late.wait_joined(60)
            gate.set()
            came: list[str] = []
            while len(came) < simulator.changes and (changes := late.receive(60)):
                came += [change.canonical() for change in changes]
        assert sorted(came) == sorted(simulator.committed())


def test_topics_output_limit_and_asyncio(simulator: Simulator, tmp_path: Path) -> None:
    """A replay has the topics, choice and values of the output it names; a limit is exact."""
    outputs = [
        {"kind": "pub", "bind": "tcp://127.0.0.1:*"},
        {
            "kind": "push",
            "bind": "tcp://127.0.0.1:*",
            "values": "json",
            "mod_types": ["INSERT"],
            "topic": "x/{table}/",
        },
    ]
    with Relay(settings(simulator, tmp_path, outputs)) as relay:
        with Listener(relay.endpoints[0][0]) as listener:
            began = Timestamp.now()
            reading(relay, 3)
            simulator.workload(WorkloadConfig(changes=300))
            with Listener(relay.endpoints[1][0], pull=True):
                caught_up(relay, listener, simulator)
        endpoint = relay.endpoints[2][0]
        table = listener.changes[0].table
        topic = listener.changes[0].topic

        async def all_of_one_topic() -> list[Change]:
            return [change async for change in replay(endpoint, topic, after=began)]

        found = asyncio.run(all_of_one_topic())
        assert sorted(one.canonical() for one in found) == sorted(
            one.canonical() for one in listener.changes if one.topic == topic
        )
        inserts = list(replay(endpoint, f"x/{table}/", after=began, output=1))
        assert sorted(one.canonical() for one in inserts) == sorted(
            one.canonical() for one in listener.changes if one.table == table and one.mod_type == "INSERT"
        )
        assert len(list(replay(endpoint, after=began, limit=7))) == 7
        assert len(list(replay(endpoint, after=began, limit=3, rate=1000))) == 3


def test_asyncio_replays_run_side_by_side_and_end_with_their_block(
    simulator: Simulator, tmp_path: Path
) -> None:
    """Two on one loop, neither waits for the other; one that is left early is over for the relay too."""
    with Relay(settings(simulator, tmp_path)) as relay:
        with Listener(relay.endpoints[0][0]) as listener:
            began = Timestamp.now()
            reading(relay, 3)
            simulator.workload(WorkloadConfig(changes=300))
            caught_up(relay, listener, simulator)
        endpoint, until = relay.endpoints[1][0], Timestamp.parse(relay.status()["watermark"])

        async def both() -> list[str]:
            async with (
                replay(endpoint, after=began, until=until, rate=20) as slow,
                replay(endpoint, after=began, until=until) as fast,
            ):
                first = await anext(slow)
                found = [change.canonical() async for change in fast]
                assert slow.changes == 1 and first.canonical() in found
            with pytest.raises(StopAsyncIteration):
                await anext(slow)
            return sorted(found)

        assert asyncio.run(both()) == between(listener.changes, began, until)
        eventually(lambda: relay.status()["replay"][0]["replays"]["running"] == 0)


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({"output": 9}, "unknownOutput"),
        ({"topics": ["other/"]}, "unknownTopic"),
        ({"after": Timestamp(32_000_000_000)}, "future"),
        ({"until": Timestamp(32_000_000_000)}, "future"),
        ({"until": Timestamp(5)}, "malformed"),
        ({"after": None}, "malformed"),
        ({"stream": b"o" * 16}, "otherStream"),
        ({"kind": "repair", "topics": ["a/"], "partition": b"p" * 16}, "gone"),
        ({"kind": "repair", "topics": []}, "malformed"),
        ({"kind": "repair", "topics": ["a/"], "partition": b"p" * 16, "first": 2, "last": 1}, "malformed"),
        ({"kind": "repair", "topics": ["a/"], "partition": b"p" * 16, "last": 2**64 - 1}, "tooLarge"),
        ({"kind": "repair", "topics": ["a/"], "partition": b"p" * 16, "output": 7}, "unknownOutput"),
        ({"kind": "heads", "output": 7}, "unknownOutput"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(map(str, value)),
)
def test_what_makes_no_sense_is_refused_with_its_reason(
    simulator_relay: Relay, asked: dict[str, Any], reason: str
) -> None:
    """Typed, to that peer, counted; the relay stays well."""
    kind = asked.pop("kind", "replay")
    fields = {"after": Timestamp.now()} if kind == "replay" else {}
    with Link(simulator_relay.endpoints[1][0]) as link:
        link.ask(kind, **{**fields, **asked})
        last = ending(link)
        assert (last.kind, last.fields["reason"]) == ("refused", reason)
    assert simulator_relay.problems() == []
    assert simulator_relay.status()["replay"][0]["refused"][reason] >= 1


@pytest.fixture(scope="module")
def simulator_relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    """A relay that has begun to read."""
    with (
        Simulator(SimulatorConfig(partitions=2)) as one,
        Relay(settings(one, tmp_path_factory.mktemp("relay"))) as relay,
    ):
        reading(relay, 2)
        yield relay


def ending(link: Link) -> Answer:
    """The answer that ends what was asked."""
    while True:
        assert link.socket.poll(WAIT_MS)
        for answer in link.take():
            if answer.kind in ("done", "refused"):
                return answer


def test_a_replay_goes_on_with_another_relay(simulator: Simulator, tmp_path: Path) -> None:
    """The relay ends in the middle of it: the next one at that endpoint serves the rest, each change once."""
    config = settings(simulator, tmp_path)
    port = free_port()
    config.output[1].bind[:] = [f"tcp://127.0.0.1:{port}"]
    with Relay(config) as relay, Listener(relay.endpoints[0][0]) as listener:
        reading(relay, 3)
        began = Timestamp.now()
        for _ in range(5):
            simulator.workload(WorkloadConfig(changes=100))
            time.sleep(0.3)
        caught_up(relay, listener, simulator)
        original = between(listener.changes, began, until := Timestamp.parse(relay.status()["watermark"]))
        replayed = replay(relay.endpoints[1][0], after=began, until=until, rate=300)
        again = [next(replayed) for _ in range(100)]
    with Relay(config):
        again += list(replayed)
    assert sorted(one.canonical() for one in again) == original
    assert len(again) > 300


def test_heads_are_told_in_a_tick_at_once(simulator: Simulator, tmp_path: Path) -> None:
    """Whoever asks for heads hears a complete tick behind it, without waiting for the next one."""
    config = settings(simulator, tmp_path)
    with Relay(config) as relay, Link(relay.endpoints[1][0]) as link:
        heard = zmq.Context.instance().socket(zmq.SUB)
        heard.linger = 0
        heard.subscribe(b"")
        heard.connect(relay.endpoints[0][0])
        assert heard.poll(WAIT_MS)
        link.ask("heads", stream=stream_id(config.source.identity))
        assert ending(link).kind == "done"
        while True:
            assert heard.poll(WAIT_MS)
            message = Message.decode(heard.recv_multipart())
            if message.kind == "tick" and message.tick()["complete"]:
                break
        assert message.tick()["relays"][0]["replay"] == relay.endpoints[1]
        heard.close()


def test_what_the_stream_keeps_no_longer_is_told_as_such(simulator_relay: Relay) -> None:
    """With the oldest timestamp that can still be had, and is had when it is asked for; never silence."""
    with pytest.raises(RetentionExpired) as caught:
        list(replay(simulator_relay.endpoints[1][0], after=Timestamp(1_000)))
    oldest = caught.value.fields["lost_to"]
    assert Timestamp(1_000) < oldest < Timestamp.now()
    assert list(replay(simulator_relay.endpoints[1][0], after=oldest)) == []
    assert list(replay(simulator_relay.endpoints[1][0], after=Timestamp.now(), until=None)) == []


def test_a_replay_is_one_line_in_the_log(simulator: Simulator, tmp_path: Path) -> None:
    """Who asked, the range, what was sent, how it ended; its partitions are told to who debugs only."""
    with Relay(settings(simulator, tmp_path)) as relay:
        with Listener(relay.endpoints[0][0]) as listener:
            began = Timestamp.now()
            reading(relay, 3)
            simulator.workload(WorkloadConfig(changes=50))
            caught_up(relay, listener, simulator)
        until = Timestamp.parse(relay.status()["watermark"])
        with capture_logs() as lines:
            changes = len(list(replay(relay.endpoints[1][0], after=began, until=until)))
            with pytest.raises(RetentionExpired):
                list(replay(relay.endpoints[1][0], after=Timestamp(1_000), until=until))
            eventually(lambda: relay.status()["replay"][0]["replays"]["served"] == 2)
            eventually(lambda: sum(one["event"] == "a replay ended" for one in lines) == 2)
    assert any(one["event"] == "reading partition" for one in lines)
    done, gone = [one for one in lines if one["log_level"] != "debug"]
    assert (done["after"], done["until"]) == (str(began), str(until))
    assert (done["changes"], done["ended"], gone["ended"]) == (changes, "done", "gone")
    assert changes > 0 and done["seconds"] > 0 and len(done["peers"]) == 1 and "oldest" in gone


def test_an_unknown_topic_is_an_error_of_the_library() -> None:
    """RefusedError with the reason, in one line; so is a relay that is not there."""
    with pytest.raises(RefusedError) as caught:
        list(replay("tcp://127.0.0.1:9", after=Timestamp(1), patience=0.2))
    assert caught.value.fields["reason"] == "busy"
    assert 'kind "replay"' in str(caught.value)


def test_messages_are_found_again_by_their_numbers(simulator: Simulator, tmp_path: Path) -> None:
    """A repair brings the very bytes that were published, in order; what never was is gone."""
    with Relay(settings(simulator, tmp_path)) as relay:
        heard = zmq.Context.instance().socket(zmq.SUB)
        heard.linger, heard.rcvhwm = 0, 0
        heard.subscribe(b"")
        heard.connect(relay.endpoints[0][0])
        assert heard.poll(WAIT_MS), "no tick came"  # from now on nothing is missed
        with Listener(relay.endpoints[0][0]) as listener:
            reading(relay, 3)
            simulator.workload(WorkloadConfig(changes=400))
            listener.wait_for(simulator.changes)
        sent: dict[tuple[bytes, int, str], list[list[bytes]]] = {}
        count = 0
        while count < simulator.changes:
            assert heard.poll(WAIT_MS)
            message = Message.decode(frames := heard.recv_multipart())
            if message.kind == "changes":
                sent.setdefault((message.partition, message.epoch, message.topic), []).append(frames)
                count += message.count
        heard.close()
        incarnation = relay.status()["incarnation"]
        with Link(relay.endpoints[1][0], window_bytes=10_000) as link:
            for (partition, epoch, topic), messages in sent.items():
                for last, kind in ((len(messages) - 1, "done"), (len(messages), "refused")):
                    one = link.ask(
                        "repair",
                        topics=[topic],
                        partition=partition,
                        epoch=epoch,
                        first=0,
                        last=last,
                        incarnation=incarnation,
                    )
                    found: list[list[bytes]] = []
                    while link.open:
                        assert link.socket.poll(WAIT_MS)
                        for answer in link.take():
                            if answer.frames is not None:
                                found.append(answer.frames)
                                link.grant(one, answer.size)
                            else:
                                assert answer.kind == kind
                    assert kind == "refused" or found == messages


def test_a_replay_that_is_not_read_keeps_no_place_and_holds_nobody(
    simulator: Simulator, tmp_path: Path
) -> None:
    """One place only: who gives no credit holds it for a while; who waits is served when it is free."""
    with Relay(settings(simulator, tmp_path, max_replays=1, queued_replays=1)) as relay:
        endpoint = relay.endpoints[1][0]
        with Listener(relay.endpoints[0][0]) as listener:
            began = Timestamp.now()
            reading(relay, 3)
            simulator.workload(WorkloadConfig(changes=2000))
            caught_up(relay, listener, simulator)
        with Link(endpoint, window_bytes=1) as stalled, Link(endpoint, window_bytes=1) as other:
            stalled.ask("replay", after=began)
            eventually(lambda: relay.status()["replay"][0]["replays"]["running"] == 1)
            other.ask("replay", after=began, limit=5)
            eventually(lambda: relay.status()["replay"][0]["replays"]["queued"] == 1)
            other.ask("replay", after=began, limit=7)
            assert ending(other).fields["reason"] == "tooMany"  # one peer does not fill the queue
            with Link(endpoint) as third:
                third.ask("replay", after=began, limit=6)
                assert ending(third).fields["reason"] == "busy"
            for id in stalled.open:
                stalled.cancel(id)
            eventually(lambda: relay.status()["replay"][0]["replays"]["queued"] == 0)
            assert any(answer.kind == "message" for answer in until_message(other))
        assert len(list(replay(endpoint, after=began))) == simulator.changes


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_replay_on_the_emulator_equals_the_original(
    dialect: Dialect, churning_emulator: Emulator, tmp_path: Path
) -> None:
    """The same against Google's emulator, whose partitions live for seconds; by command."""
    database = churning_emulator.database(dialect, [TABLE[dialect], STREAM])
    config = tmp_path / "relay.toml"
    config.write_text(
        f"""
        [source]
        project = "{PROJECT}"
        instance = "{INSTANCE}"
        database = "{database.name}"
        stream = "everything"
        emulator_host = "{database.host}"
        heartbeat_ms = 100
        [store]
        kind = "memory"
        [[output]]
        kind = "pub"
        bind = "tcp://127.0.0.1:*"
        [[output]]
        kind = "replay"
        bind = "tcp://127.0.0.1:{free_port()}"
        """
    )
    with Relay(load(config)) as relay, Listener(relay.endpoints[0][0]) as listener:
        began = Timestamp.now()
        eventually(lambda: relay.stats()["heartbeats"] > 0)
        for first in range(0, 60, 20):
            database.insert("items", ["k", "v"], [(key, "x") for key in range(first, first + 20)])
            time.sleep(1)
        listener.wait_for(60)
        newest = max(one.commit_timestamp for one in listener.changes)
        eventually(lambda: Timestamp.parse(relay.status()["watermark"]) >= newest)
        command = [sys.executable, "-c", "from spanwire.cli import main; main()", "replay", str(config)]
        done = subprocess.run(
            [*command, "--from", str(began), "--json"],
            capture_output=True,
            text=True,
            timeout=150,
            check=True,
        )
        assert sorted(done.stdout.splitlines()) == sorted(one.canonical() for one in listener.changes)
        assert json.loads(done.stderr)["changes"] == 60
    database.drop()


def test_equal_replays_that_wait_share_one_read(simulator: Simulator, tmp_path: Path) -> None:
    """Each peer gets the topics it asked for, from the same re-read of Spanner."""
    with Relay(settings(simulator, tmp_path, max_replays=1)) as relay:
        endpoint = relay.endpoints[1][0]
        with Listener(relay.endpoints[0][0]) as listener:
            began = Timestamp.now()
            reading(relay, 3)
            simulator.workload(WorkloadConfig(changes=300))
            caught_up(relay, listener, simulator)
        until = Timestamp.parse(relay.status()["watermark"])
        topic = listener.changes[0].topic
        with Link(endpoint, window_bytes=1) as stalled, Link(endpoint) as one, Link(endpoint) as two:
            blocking = stalled.ask("replay", after=began)
            eventually(lambda: relay.status()["replay"][0]["replays"]["running"] == 1)
            one.ask("replay", after=began, until=until)
            two.ask("replay", after=began, until=until, topics=[topic])
            eventually(lambda: relay.status()["replay"][0]["open"] == 3)
            assert relay.status()["replay"][0]["replays"]["queued"] == 1
            stalled.cancel(blocking)
            found = [sorted(changes_of(link)) for link in (one, two)]
        assert found[0] == between(listener.changes, began, until)
        assert found[1] == between([c for c in listener.changes if c.topic == topic], began, until)
        assert 0 < len(found[1]) < len(found[0])
        eventually(lambda: relay.status()["replay"][0]["replays"]["served"] == 2)


def changes_of(link: Link) -> list[str]:
    """The canonical changes of all messages up to the end of what was asked."""
    found: list[str] = []
    while link.open:
        assert link.socket.poll(WAIT_MS)
        for answer in link.take():
            if answer.frames is not None:
                found += [one.canonical() for one in Message.decode(answer.frames).changes()]
    return found


def until_message(link: Link) -> list[Answer]:
    """All answers up to the first message."""
    found: list[Answer] = []
    while not any(one.kind == "message" for one in found):
        assert link.socket.poll(WAIT_MS)
        found += link.take()
    return found
