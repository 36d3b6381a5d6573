"""The benches measure what they say; what they measured is no matter of tests."""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from typing import Literal

import pytest
import zmq

from spanwire import _core, bench
from spanwire._core import Message, RecordReader
from spanwire.bench import core, peers
from spanwire.bench.figures import Report
from spanwire.bench.plan import Plan, Step, run
from spanwire.bench.workload import Workload, build
from spanwire.errors import ConfigError


@pytest.fixture(scope="module")
def workload() -> Workload:
    """A few messages."""
    return build(1000)


def test_a_workload_is_what_it_says(workload: Workload) -> None:
    """So many changes, 20 a record, records with versions of their own, messages of 64 KiB, sound JSON."""
    records = [record["data_change_record"] for record in RecordReader("googlesql").read(workload.messages)]
    assert len(records) == workload.records == 50
    assert {len(record["mods"]) for record in records} == {20}
    assert len({record["server_transaction_id"] for record in records}) == 50
    assert all(len(message) >= 64 << 10 for message in workload.messages[:-1])
    assert [message for batch in workload.batches() for message in batch] == workload.messages
    for record in records:
        for mod in record["mods"]:
            assert json.loads(mod["keys"]).keys() == {"OrderId", "Region"}
            assert len(json.loads(mod["new_values"])) == 8
            assert 300 <= len(mod["keys"] + mod["new_values"]) <= 500


def test_a_message_can_hold_one_change() -> None:
    """The other end of the scale: a gRPC message each."""
    workload = build(30, changes_per_record=1, message_bytes=0)
    assert len(workload.messages) == workload.records == workload.changes == 30


@pytest.mark.parametrize("decode", ["values", "lazy"])
@pytest.mark.parametrize("values", ["json", "typed"])
def test_the_plain_peer_makes_the_same_messages(
    workload: Workload, values: core.Values, decode: Literal["values", "lazy"]
) -> None:
    """It does all of the core's work: the same topics, columns, counts and changes, value by value."""
    ours = [Message.decode(frames) for frames, _ in core.Captured(workload, values).messages]
    with zmq.Context() as context, context.socket(zmq.PUSH) as push, context.socket(zmq.PULL) as pull:
        pull.set(zmq.RCVTIMEO, 60_000)
        push.bind("inproc://peer")
        pull.connect("inproc://peer")
        relay = peers.plain_python().PlainRelay(push, decode=decode, values=values)
        relay.push(workload.messages[:3])
        relay.push(workload.messages[3:])
        relay.flush()
        theirs: list[Message] = []
        while sum(message.count for message in theirs) < relay.changes:
            theirs.append(Message.decode(pull.recv_multipart()))
    assert {(m.topic, m.table, m.values, m.kind) for m in theirs} == {
        (m.topic, m.table, m.values, m.kind) for m in ours
    }
    assert [m.sequence for m in theirs] == list(range(len(theirs)))
    wanted = [change.canonical() for message in ours for change in message.changes()]
    got = [change.canonical() for message in theirs for change in message.changes()]
    assert got == wanted
    assert len(wanted) == workload.changes


def test_bench_core_tells_its_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that is promised is there and above zero; ratios are of figures that are there too."""
    monkeypatch.setattr(core, "_CHANGES", 8000)
    told: list[tuple[int, int, str]] = []
    figures = bench.as_json(bench.run(["core"], bench.Plan(1, quick=True), lambda *one: told.append(one)))
    promised = (
        "changes_per_second_json",
        "changes_per_second_typed",
        "vs_plain_python",
        "vs_libzmq_and_core",
    )
    assert all(figures[name] > 0 for name in promised)
    both = 1 / (1 / figures["changes_per_second_json"] + 1 / figures["libzmq_json"])
    assert figures["vs_libzmq_and_core"] == pytest.approx(figures["core_and_pub_json"] / both, rel=0.01)
    [plain] = [one for one in figures["budgets"] if one["peer_name"] == "plain_python_json"]
    assert plain["ratio"] == pytest.approx(figures["vs_plain_python"])
    assert plain["met"] is (plain["ratio"] >= 250)
    [unmeasured] = [one for one in figures["budgets"] if one["name"] == "idle_cpu"]
    assert unmeasured["met"] is None
    assert "not part of this run" in unmeasured["why"]
    assert [done for done, _, _ in told[1:-1]] == list(range(8))
    json.dumps(figures)


def test_bench_refuses_a_debug_build(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its figures would say nothing."""
    monkeypatch.setattr(_core, "_debug_build", True)
    with pytest.raises(ConfigError, match="debug build"):
        bench.run(["core"], bench.Plan())


def test_a_missing_pycapnp_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an extra: say how to get it."""
    monkeypatch.setitem(sys.modules, "capnp", None)
    with pytest.raises(ConfigError, match=r"pip install 'spanwire\[bench\]'"):
        bench.run(["core"], bench.Plan())


def test_peers_that_are_not_there_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wheel does not have them: say where they are."""
    monkeypatch.setenv("SPANWIRE_PEERS", "/nowhere")
    with pytest.raises(ConfigError, match="in a checkout of spanwire"):
        bench.run(["core"], bench.Plan())


def test_a_run_that_takes_too_long_measures_everything_once() -> None:
    """A slow machine costs repetitions, and the report says so."""

    class Slow:
        def steps(self, plan: Plan, stack: ExitStack) -> list[Step]:
            return [
                Step("a", lambda report: report.take("a", "s", 1.0)),
                Step("b", lambda report: report.take("b", "s", 1.0)),
            ]

        def conclude(self, report: Report) -> None: ...

    report = run([Slow()], Plan(repeat=3, limit_s=0.0), lambda done, total, what: None)
    assert [len(figure.taken) for figure in report.figures.values()] == [1, 1]
    assert report.absent == {"repetitions": "1 of 3 were whole when the time was up"}
