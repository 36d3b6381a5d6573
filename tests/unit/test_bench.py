"""The benches measure what they say; what they measured is no matter of tests."""

from __future__ import annotations

import json
import sys
from typing import Literal

import pytest
import zmq

from spanwire import _core, bench
from spanwire._core import Message, RecordReader
from spanwire.bench import measure
from spanwire.bench.peers.plain_python import PlainRelay
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
    workload: Workload, values: measure.Values, decode: Literal["values", "lazy"]
) -> None:
    """It does all of the core's work: the same topics, columns, counts and changes, value by value."""
    ours = [Message.decode(frames) for frames, _ in measure.Captured(workload, values).messages]
    with zmq.Context() as context, context.socket(zmq.PUSH) as push, context.socket(zmq.PULL) as pull:
        pull.set(zmq.RCVTIMEO, 10_000)
        push.bind("inproc://peer")
        pull.connect("inproc://peer")
        relay = PlainRelay(push, decode=decode, values=values)
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


def test_bench_core_tells_its_figures() -> None:
    """All that is promised is there and above zero; ratios are of figures that are there too."""
    figures = bench.core(repeat=1, changes=2000)
    promised = (
        "changes_per_second_json",
        "changes_per_second_typed",
        "vs_plain_python",
        "vs_libzmq_and_core",
    )
    assert all(figures[name] > 0 for name in promised)
    both = 1 / (1 / figures["changes_per_second_json"] + 1 / figures["libzmq_json"])
    assert figures["vs_libzmq_and_core"] == pytest.approx(figures["core_and_pub_json"] / both, rel=0.01)


def test_bench_refuses_a_debug_build(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its figures would say nothing."""
    monkeypatch.setattr(_core, "_debug_build", True)
    with pytest.raises(ConfigError, match="debug build"):
        bench.core(repeat=1)


def test_a_missing_pycapnp_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an extra: say how to get it."""
    monkeypatch.setitem(sys.modules, "capnp", None)
    with pytest.raises(ConfigError, match=r"pip install 'spanwire\[bench\]'"):
        bench.core(repeat=1)
