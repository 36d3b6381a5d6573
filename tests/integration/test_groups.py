"""Work groups with real relays, members and kills: at least once, in order per key, counts survive."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
import threading
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import zmq
from integration.processes import reads, relay
from integration.relays import eventually
from structlog.testing import capture_logs
from support.ports import free_endpoint
from typer.testing import CliRunner

from spanwire import Change, Member
from spanwire._core import Timestamp, decode_reply, encode_request
from spanwire.cli import app
from spanwire.config import Config, load, parse
from spanwire.errors import RefusedError
from spanwire.relay import Relay
from spanwire.relay.group.state import State
from spanwire.simulator import Simulator, SimulatorConfig, WorkloadConfig
from spanwire.store import groups_beside

OUTPUT = """
[[output]]
kind = "group"
name = "mail"
bind = "{endpoint}"
slots = 8
ack_timeout_ms = {timeout}
max_deliveries = 3
batch_changes = 20
"""


def database(**more: Any) -> SimulatorConfig:
    """What is simulated."""
    return SimulatorConfig(project="p", instance="i", database="shop", stream="all", seed=3, **more)


def config(
    simulator: Simulator, folder: Path, endpoint: str = "tcp://127.0.0.1:*", timeout: int = 60_000
) -> str:
    """The text of a relay's settings, in a file of that folder too."""
    text = reads(simulator, folder) + OUTPUT.format(endpoint=endpoint, timeout=timeout)
    (folder / "relay.toml").write_text(text)
    return text


@contextmanager
def running(simulator: Simulator, folder: Path, **more: Any) -> Iterator[str]:
    """A relay in this process with one group; where members connect."""
    with Relay(parse(tomllib.loads(config(simulator, folder, **more)))) as one:
        yield one.endpoints[0][0]


def committed(simulator: Simulator) -> dict[str, Any]:
    """All changes there are, by version."""
    return {json.loads(line)["version"]: json.loads(line) for line in simulator.committed()}


class Crew:
    """Members on threads of their own; what their handler saw."""

    def __init__(
        self, endpoint: str, members: int, handler: Callable[[Change], None] = lambda _: None
    ) -> None:
        self.seen: list[tuple[int, Change, int]] = []
        self.stop = threading.Event()
        self._handler = handler
        self._threads = [
            threading.Thread(target=self._run, args=(endpoint, number)) for number in range(members)
        ]
        for thread in self._threads:
            thread.start()

    def _run(self, endpoint: str, number: int) -> None:
        with Member(endpoint, "mail", name=f"member-{number}") as member:
            while not self.stop.is_set():
                if (change := member.receive(0.05)) is not None:
                    self.seen.append((number, change, member.deliveries))
                    try:
                        self._handler(change)
                    except ValueError as error:
                        member.reject(type(error).__name__)
                        continue
                    member.ack()

    def versions(self) -> set[str]:
        """Which changes were seen."""
        return {str(change.version) for _, change, _ in list(self.seen)}

    def all_have_worked(self) -> bool:
        """Whether each has seen something."""
        return len({number for number, _, _ in list(self.seen)}) == len(self._threads)

    def end(self) -> None:
        """Leave."""
        self.stop.set()
        for thread in self._threads:
            thread.join()


@contextmanager
def crew(endpoint: str, members: int, handler: Callable[[Change], None] = lambda _: None) -> Iterator[Crew]:
    """Members for a while."""
    one = Crew(endpoint, members, handler)
    try:
        yield one
    finally:
        one.end()


def assert_in_order(changes: list[Change]) -> None:
    """Per key, each change is new or was seen before; no first sight is out of order."""
    newest: dict[str, Any] = {}
    seen: set[str] = set()
    for change in changes:
        if str(change.version) in seen:
            continue
        seen.add(str(change.version))
        key = f"{change.table}/{change.keys}"
        assert key not in newest or newest[key] < change.version, "a key's versions do not rise"
        newest[key] = change.version


def test_members_share_all_changes_in_order_per_key(tmp_path: Path) -> None:
    """Once where nobody dies; each slot with one of them, while partitions split and merge."""
    with Simulator(database(churn=300)) as simulator, running(simulator, tmp_path) as endpoint:
        with crew(endpoint, 3) as members:
            simulator.workload(WorkloadConfig(changes=1500, rate=3000))
            while not members.all_have_worked():  # one may have joined late
                simulator.workload(WorkloadConfig(changes=100))
            wanted = committed(simulator)
            eventually(lambda: members.versions() >= wanted.keys())
        assert len(members.seen) == len(wanted)
        assert all(deliveries == 1 for _, _, deliveries in members.seen)
        assert_in_order([change for _, change, _ in members.seen])
        for _, change, _ in members.seen:
            assert wanted[str(change.version)] == json.loads(change.canonical())


def test_what_a_slow_member_holds_goes_to_another(tmp_path: Path) -> None:
    """After ack_timeout_ms, with its count; its late ack has no effect, and it works on as a new member."""
    with (
        Simulator(database()) as simulator,
        running(simulator, tmp_path, timeout=1_000) as endpoint,
        Member(endpoint, "mail", name="slow") as slow,
    ):
        simulator.workload(WorkloadConfig(changes=20))
        held = slow.receive(60)
        assert held is not None
        given = slow.deliveries
        with crew(endpoint, 1) as members:
            wanted = committed(simulator)
            eventually(lambda: members.versions() >= wanted.keys())
            counts: dict[str, int] = {}
            for _, change, deliveries in members.seen:
                counts.setdefault(str(change.version), deliveries)
            assert counts.pop(str(held.version)) == given + 1
            assert set(counts.values()) == {1}, "only what it was at counts"
        slow.ack()
        assert slow.receive(1) is None
        simulator.workload(WorkloadConfig(changes=5))
        assert slow.receive(60) is not None


def test_a_change_that_fails_goes_to_the_dead_letters_and_back(tmp_path: Path) -> None:
    """After max_deliveries, with its reason; the rest goes on; requeued, it is delivered again."""
    broken: set[str] = set()

    def handle(change: Change) -> None:
        if str(change.version) in broken:
            raise ValueError("row data: do not log")

    with Simulator(database()) as simulator, running(simulator, tmp_path) as endpoint:
        simulator.workload(WorkloadConfig(changes=60))
        wanted = committed(simulator)
        poison = sorted(wanted)[30]
        broken.add(poison)
        path = str(tmp_path / "relay.toml")
        with crew(endpoint, 2, handle) as members:
            eventually(lambda: members.versions() >= wanted.keys())
            eventually(lambda: len(group("dead", path, "mail")) == 1)
            [letter] = group("dead", path, "mail")
            assert (letter["version"], letter["reason"], letter["deliveries"]) == (poison, "ValueError", 3)
            assert json.loads(letter["change"]) == wanted[poison]
            tries = [deliveries for _, change, deliveries in members.seen if str(change.version) == poison]
            assert tries == [1, 2, 3]
            assert len(members.seen) == len(wanted) + 2
            assert_in_order([change for _, change, _ in members.seen])
            broken.clear()
            before = len(members.seen)
            assert group("requeue", path, "mail", str(letter["id"])) == [{"group": "mail", "requeued": 1}]
            eventually(lambda: group("dead", path, "mail") == [] and len(members.seen) > before)
            assert [str(change.version) for _, change, _ in members.seen[before:]] == [poison]
            [listed] = group("list", path)
            assert (listed["group"], listed["dead_letters"], listed["requeued"]) == ("mail", 0, 0)


def group(*arguments: str) -> list[Any]:
    """What `spanwire group` prints."""
    result = CliRunner().invoke(app, ["group", *arguments, "--json"])
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.output.split("\n") if line]


def failures(path: Path) -> dict[str, int]:
    """How often changes failed, by version, as the store of a relay has it; of its only group."""
    settings = load(path)
    with groups_beside(settings.store, settings.source.identity) as beside:
        return dict(State.decode(beside.named("mail").state).failures)


def test_a_rejected_change_may_be_given_up_at_once(tmp_path: Path) -> None:
    """With dead=True, and what comes behind it in its message goes on."""
    with Simulator(database()) as simulator, running(simulator, tmp_path) as endpoint:
        simulator.workload(WorkloadConfig(changes=30))
        wanted = committed(simulator)
        seen: Counter[str] = Counter()
        with Member(endpoint, "mail") as member:
            first = member.receive(60)
            assert first is not None
            member.reject("no such customer", dead=True)
            while len(seen) < len(wanted) - 1:
                change = member.receive(60)
                assert change is not None
                seen[str(change.version)] += 1
        assert str(first.version) not in seen
        path = str(tmp_path / "relay.toml")
        eventually(lambda: len(group("dead", path, "mail")) == 1)
        [letter] = group("dead", path, "mail")
        assert (letter["version"], letter["reason"], letter["deliveries"]) == (
            str(first.version),
            "no such customer",
            1,
        )


MEMBER = textwrap.dedent(
    """
    import sys
    from spanwire import Member
    endpoint, poison = sys.argv[1:]
    with Member(endpoint, "mail") as member:
        for change in member:
            print(member.deliveries, change.version, change.table, change.keys, flush=True)
            if poison in str(change.version):
                import os, signal
                asked = member._link.ask("hello")  # answered behind what was acknowledged before
                while asked in member._link.open:
                    member._link.socket.poll(100)
                    member._link.take()
                os.kill(os.getpid(), signal.SIGKILL)
    """
)


class Process:
    """A member in a process of its own."""

    def __init__(self, endpoint: str, poison: str = "nothing") -> None:
        self.lines: list[str] = []
        self._process = subprocess.Popen(
            [sys.executable, "-c", MEMBER, endpoint, poison], stdout=subprocess.PIPE, text=True
        )
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        # It may be killed while it prints: then it has not acknowledged what the rest of a line tells.
        self.lines += [line for line in self._process.stdout if line.endswith("}\n")]

    def wait(self) -> None:
        """Until it has died."""
        self._process.wait(60)
        self._thread.join()

    def kill(self) -> None:
        """With -9."""
        self._process.kill()
        self.wait()


def test_a_change_that_kills_its_members_is_given_up_and_the_relay_may_die_too(tmp_path: Path) -> None:
    """Its count and its dead letter survive kill -9 of the relay; all other changes are handled."""
    endpoint = free_endpoint()
    with Simulator(database()) as simulator:
        config(simulator, tmp_path, endpoint)
        path = tmp_path / "relay.toml"
        with relay(path):
            simulator.workload(WorkloadConfig(changes=40))
            wanted = committed(simulator)
            poison = sorted(wanted)[20]
            dying = [Process(endpoint, poison)]
            dying[0].wait()
            eventually(lambda: failures(path).get(poison) == 1)  # its connection is gone: that is noticed
        with relay(path):  # the one before was killed
            dying.append(Process(endpoint, poison))
            dying[1].wait()
            dying.append(Process(endpoint, poison))
            dying[2].wait()
            eventually(lambda: len(group("dead", str(path), "mail")) == 1)
        counts = [line.split()[0] for one in dying for line in one.lines if poison in line]
        assert counts == ["1", "2", "3"]
        [letter] = group("dead", str(path), "mail")
        assert (letter["version"], letter["deliveries"]) == (poison, 3)
        with relay(path), crew(endpoint, 1) as members:
            seen = {line.split()[1] for one in dying for line in one.lines}
            eventually(lambda: seen | members.versions() >= wanted.keys())
            assert poison not in members.versions()
        assert group("dead", str(path), "mail") == [letter]


def test_all_is_handled_through_kills_of_members_and_relay(tmp_path: Path) -> None:
    """At least once, in order per key for each that handles, whoever dies and when."""
    endpoint = free_endpoint()
    processes: list[Process] = []
    with Simulator(database(churn=400)) as simulator:
        config(simulator, tmp_path, endpoint)
        path = tmp_path / "relay.toml"
        for _ in range(2):
            with relay(path):
                crowd = [Process(endpoint), Process(endpoint)]
                processes += crowd
                simulator.workload(WorkloadConfig(changes=400, rate=800))
                crowd[0].kill()
            crowd[1].kill()
            simulator.workload(WorkloadConfig(changes=50))  # while nobody reads
        wanted = committed(simulator)
        with relay(path), crew(endpoint, 2) as members:
            handled = {line.split()[1] for one in processes for line in one.lines}
            eventually(lambda: handled | members.versions() >= wanted.keys())
            assert_in_order([change for _, change, _ in members.seen])
        assert (handled | members.versions()) == wanted.keys()


def test_what_is_no_request_is_refused_and_disturbs_nobody(tmp_path: Path) -> None:
    """Garbage, other kinds, other groups, acks of who is no member or for what was never sent: typed."""
    with Simulator(database()) as simulator, running(simulator, tmp_path) as endpoint:
        peer = zmq.Context.instance().socket(zmq.DEALER)
        peer.linger = 0
        peer.connect(endpoint)

        def said(*frames: bytes) -> str:
            peer.send_multipart(frames)
            while True:
                assert peer.poll(60_000)
                reply = decode_reply(peer.recv_multipart()[0])
                if reply["kind"] != "progress":
                    return str(reply["reason"] if reply["kind"] == "refused" else reply["kind"])

        assert said(b"junk") == "malformed"
        assert said(b"a", b"b") == "malformed"
        assert said(b"x" * 100_000) == "tooLarge"
        assert said(encode_request("replay", 1)) == "unknownKind"
        assert said(encode_request("ack", 1, delivery=1, handled=1)) == "notMember"
        assert said(encode_request("reject", 1, delivery=1)) == "notMember"
        assert said(encode_request("leave", 1)) == "notMember"
        assert said(encode_request("credit", 1, credit=5)) == "notMember"
        assert said(encode_request("join", 2, group="other")) == "unknownOutput"
        assert said(encode_request("join", 3, group="mail", stream=b"x" * 16)) == "otherStream"
        assert said(encode_request("ping", 4)) == "pong"
        assert said(encode_request("join", 5, group="mail")) == "welcome"
        assert said(encode_request("ack", 5, delivery=99, handled=1)) == "neverSent"
        assert said(encode_request("leave", 5)) == "done"
        assert said(encode_request("ack", 5, delivery=99, handled=1)) == "notMember"
        peer.close()
        with (
            pytest.raises(RefusedError, match='of group "mail", not of "post"'),
            Member(endpoint, "post") as one,
        ):
            one.receive(60)
        with crew(endpoint, 1) as members:
            simulator.workload(WorkloadConfig(changes=20))
            eventually(lambda: members.versions() >= committed(simulator).keys())


def test_a_member_that_leaves_gives_back_what_it_has_not_handled(tmp_path: Path) -> None:
    """The change it was at counts; what it acknowledged does not come again."""
    with Simulator(database()) as simulator, running(simulator, tmp_path) as endpoint:
        simulator.workload(WorkloadConfig(changes=60))
        wanted = committed(simulator)
        with Member(endpoint, "mail") as leaving:
            done = [leaving.receive(60) for _ in range(10)]
        at = str(done[-1].version) if done[-1] else ""
        with crew(endpoint, 1) as members:
            handled = {str(one.version) for one in done if one} - {at}
            eventually(lambda: handled | members.versions() >= wanted.keys())
            assert not handled & members.versions()
            assert [n for _, change, n in members.seen if str(change.version) == at] == [2]


async def test_a_member_works_on_an_event_loop(tmp_path: Path) -> None:
    """The same by async for, and it leaves without holding the loop up."""
    with Simulator(database()) as simulator, running(simulator, tmp_path) as endpoint:
        simulator.workload(WorkloadConfig(changes=25))
        wanted = committed(simulator)
        found: set[str] = set()
        async with Member(endpoint, "mail") as member:
            assert await member.areceive(0) is None
            async for change in member:
                found.add(str(change.version))
                if found == wanted.keys():
                    break


def test_a_group_begins_where_it_is_told_to(tmp_path: Path) -> None:
    """Its backlog comes from Spanner, every change of it, and then the live ones."""
    with Simulator(database()) as simulator:
        simulator.workload(WorkloadConfig(changes=50))
        first = min(committed(simulator))
        text = config(simulator, tmp_path).replace(
            'name = "mail"', f'name = "mail"\nstart = "{first.split("/")[0]}"'
        )
        with Relay(parse(tomllib.loads(text))) as one, crew(one.endpoints[0][0], 2) as members:
            simulator.workload(WorkloadConfig(changes=50))
            wanted = {one for one in committed(simulator) if one.split("/")[0] > first.split("/")[0]}
            eventually(lambda: members.versions() >= wanted)
            assert_in_order([change for _, change, _ in members.seen])
            assert len(members.seen) == len(members.versions())


def test_a_group_that_nobody_works_for_holds_bounded_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What falls off its ring meanwhile is read again from Spanner once somebody does; nothing is lost."""
    monkeypatch.setattr("spanwire.relay.group.intake.MOST_BYTES", 20_000)
    monkeypatch.setattr("spanwire.relay.group.group.MOST_BYTES", 20_000)
    with Simulator(database()) as simulator:
        text = config(simulator, tmp_path).replace("slots = 8", "slots = 8\nring_bytes = 100000")
        with Relay(parse(tomllib.loads(text))) as one:
            last = simulator.workload(WorkloadConfig(changes=3000)).last
            wanted = committed(simulator)
            eventually(lambda: (one.status()["watermark"] or "") > _text(last))
            [status] = one.status()["groups"]
            ring = one.stats()["rings"][0]
            assert ring["bytes"] <= 100_000 < sum(map(len, map(str, wanted.values())))
            assert status["waiting_bytes"] < 200_000
            with crew(one.endpoints[0][0], 2) as members:
                eventually(lambda: members.versions() >= wanted.keys())
            assert_in_order([change for _, change, _ in members.seen])
            assert len(members.seen) == len(wanted)


def test_a_relay_with_an_end_lets_its_groups_finish(tmp_path: Path) -> None:
    """All is read before anybody works: it ends once that is handled, and the next one has nothing left."""
    with Simulator(database()) as simulator:
        loaded = ending(simulator, tmp_path, changes=300)
        wanted = committed(simulator)
        with capture_logs() as lines, Relay(loaded, drain_s=60) as one:
            eventually(lambda: any(line["event"].startswith("the end is read") for line in lines))
            with crew(one.endpoints[0][0], 2) as members:
                assert one.wait(60)
            assert members.versions() == wanted.keys()
        assert not any("ends before" in line["event"] for line in lines)
        with capture_logs() as lines, Relay(loaded) as one:
            assert one.wait(60)
        assert not any("end is read" in line["event"] for line in lines)


def test_a_group_that_nobody_works_for_does_not_hold_up_the_end_for_ever(tmp_path: Path) -> None:
    """The bound is that of any end; the log names the group and how far it is."""
    with Simulator(database()) as simulator:
        loaded = ending(simulator, tmp_path, changes=10)
        with capture_logs() as lines, Relay(loaded, drain_s=0.1) as one:
            assert one.wait(60)
        [line] = [line for line in lines if "ends before" in line["event"]]
        assert (line["group"], line["log_level"]) == ("mail", "warning")
        assert line["watermark"] < line["end"]


def ending(simulator: Simulator, folder: Path, changes: int) -> Config:
    """Settings of a relay that reads what is committed here, and ends."""
    began = Timestamp.now()
    simulator.workload(WorkloadConfig(changes=changes))
    now = Timestamp.now()
    loaded = parse(tomllib.loads(config(simulator, folder)))
    ends = {"start": str(began), "end": str(Timestamp(now.seconds + 1, now.nanos))}
    return loaded.model_copy(update={"source": loaded.source.model_copy(update=ends)})


def _text(nanos: int) -> str:
    """A timestamp as the status writes it."""
    return str(Timestamp(nanos // 10**9, nanos % 10**9))
