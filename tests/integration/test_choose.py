"""Outputs that choose: what goes out of a relay, and that nothing left out is found anywhere."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq
from integration.relays import eventually
from integration.test_relay_faults import Faulty
from integration.test_relay_simulator import reading, settings
from support.change_records import data_change, message

from spanwire import Subscriber
from spanwire._core import Message, Output, Pipeline, Timestamp
from spanwire.cli.sample import show
from spanwire.config import Config, parse
from spanwire.errors import ConfigError, UndecodableError
from spanwire.relay import Relay
from spanwire.simulator import Simulator, SimulatorConfig, WorkloadConfig, insert
from spanwire.status import StatusServer

ROOT = Path(__file__).parents[2]
SENTINEL = "s3ntinel-0123456789"
COLUMNS = (
    ("Id", {"code": "INT64"}, True, 1),
    ("Card", {"code": "STRING"}, False, 2),
    ("Mail", {"code": "STRING"}, False, 3),
    ("Raw", {"code": "BYTES"}, False, 4),
    ("Note", {"code": "STRING"}, False, 5),
)
SECRETIVE = {
    "hash_key": b"0123456789abcdef",
    "table": [
        {
            "name": "ord*",
            "exclude_columns": ["card", "stranger"],
            "hash": ["MAIL"],
            "mask": ["note"],
            "truncate": {"Raw": 2},
        }
    ],
}


def config_of(simulator: Simulator, folder: Path, *outputs: dict[str, Any], **source: Any) -> Config:
    """A relay with several outputs on free ports."""
    plain = settings(simulator, folder, **source).model_dump(exclude_defaults=True)
    base = {"kind": "pub", "bind": "tcp://127.0.0.1:*"}
    return parse({**plain, "output": [{**base, **output} for output in outputs]})


class Frames:
    """All that a socket gave, as it came."""

    def __init__(self, endpoint: str, kind: int = zmq.SUB) -> None:
        self._socket = zmq.Context.instance().socket(kind)
        self._socket.linger = 0
        if kind == zmq.SUB:
            self._socket.subscribe(b"")
        self._socket.connect(endpoint)
        self.all: list[list[bytes]] = []

    def until(self, kind: str, number: int = 1) -> list[Message]:
        """Take messages until so many of a kind have come; those."""
        found: list[Message] = []
        while len(found) < number:
            assert self._socket.poll(60_000), f"no {kind} came"
            self.all.append(self._socket.recv_multipart())
            one = Message.decode(self.all[-1])
            found += [one] if one.kind == kind else []
        return found

    def close(self) -> None:
        """End it."""
        self._socket.close()


def holds_sentinel(data: bytes | str) -> bool:
    """The sentinel as it is, in base64 at any place, or in hexadecimal."""
    data = data.encode() if isinstance(data, str) else data
    forms = [SENTINEL.encode(), SENTINEL.encode().hex().encode()]
    forms += [base64.b64encode(b" " * shift + SENTINEL.encode())[4:20] for shift in range(3)]
    return any(form in data for form in forms)


def secret_row(broken: str = "") -> dict[str, Any]:
    """Values that hold the sentinel, each in a column that does not go out as it is."""
    raw = base64.b64encode(b"ok" + SENTINEL.encode()).decode()
    return {"Card": SENTINEL, "Mail": SENTINEL, "Raw": raw, "Note": SENTINEL, "Stranger": SENTINEL} | (
        {"Card": {"nested": SENTINEL}} if broken == "misfit" else {}
    )


@pytest.mark.parametrize("values", ["typed", "json"])
def test_a_value_that_is_left_out_is_in_no_frame(values: Any) -> None:
    """Excluded, masked, hashed, cut; in new, old and unknown columns, and where it does not fit its type.

    A second output shows that the values were there to be found.
    """
    outputs = [
        Output("push", ["tcp://127.0.0.1:*"], values=values, choice=choice) for choice in (SECRETIVE, None)
    ]
    with Pipeline("shop", "all", outputs) as pipeline:
        chosen, all_of_it = (Frames(endpoint, zmq.PULL) for [endpoint] in pipeline.endpoints)
        partition = pipeline.partition("t", dialect="googlesql", epoch=1, start=Timestamp(0))
        rows = [({"Id": str(i)}, secret_row(broken), secret_row()) for i, broken in enumerate(["", "misfit"])]
        partition.push([message(data_change("2026-01-01T00:00:00Z", rows, columns=COLUMNS))])
        [sent] = chosen.until("changes")
        [plain] = all_of_it.until("changes")
        stats = repr(pipeline.stats())
    for one in (chosen, all_of_it):
        one.close()
    assert any(holds_sentinel(frame) for frame in all_of_it.all[0])
    assert not any(holds_sentinel(frame) for frames in chosen.all for frame in frames)
    assert not holds_sentinel(stats)
    first, second = sent.changes()
    assert set(first.new) == {"Mail", "Raw", "Note"}
    assert (first.new["Raw"], first.new["Note"], len(first.new["Mail"])) == (b"ok", "***", 64)
    assert first.new["Mail"] == second.new["Mail"] == first.old["Mail"]
    assert [column["name"] for column in first.columns] == ["Id", "Mail", "Raw", "Note"]
    assert {column["name"]: column["type"]["code"] for column in first.columns}["Mail"] == "STRING"
    assert "Card" in plain.changes()[0].new


@pytest.mark.parametrize("broken", ["json", "types"])
@pytest.mark.parametrize("values", ["typed", "json"])
def test_what_cannot_be_decoded_does_not_leak(values: Any, broken: str) -> None:
    """Its letter goes without the row where the table's columns are chosen, with it elsewhere.

    Or the partition stops, with an error that says nothing of it.
    """
    columns = COLUMNS if broken == "json" else (*COLUMNS, ("Odd", "not a type", False, 6))
    record = message(data_change("2026-01-01T00:00:00Z", [({"Id": "1"}, secret_row(), {})], columns=columns))
    if broken == "json":
        assert record.count(b'"Note"') == 1
        record = record.replace(b'"Note":"', b'"Note" "')
    for choice in (SECRETIVE, {"table": [{"name": "orders", "columns": ["Id"]}]}):
        outputs = [Output("push", ["tcp://127.0.0.1:*"], values=values, choice=one) for one in (choice, None)]
        with Pipeline("shop", "all", outputs, on_undecodable="dead-letter") as pipeline:
            chosen, plain = (Frames(endpoint, zmq.PULL) for [endpoint] in pipeline.endpoints)
            partition = pipeline.partition("t", dialect="googlesql", epoch=1, start=Timestamp(0))
            partition.push([record])
            [letter] = chosen.until("deadLetter")
            if values == "typed" or broken == "types":
                assert holds_sentinel(plain.until("deadLetter")[0].dead_letter()["raw"])
            for one in (chosen, plain):
                one.close()
        assert letter.dead_letter()["raw"] == b""
        assert "without the row" in letter.dead_letter()["reason"]
        assert not any(holds_sentinel(frame) for frames in chosen.all for frame in frames)
        with Pipeline("shop", "all", outputs[:1]) as pipeline:
            partition = pipeline.partition("t", dialect="googlesql", epoch=1, start=Timestamp(0))
            with pytest.raises(UndecodableError) as caught:
                partition.push([record])
        assert not holds_sentinel(repr(caught.value) + str(caught.value.fields))


def test_of_a_table_that_does_not_go_out_nothing_stops() -> None:
    """A record of it that cannot be decoded is left out like any other of that table."""
    output = Output("push", ["tcp://127.0.0.1:*"], choice={"exclude_tables": ["orders"]})
    record = message(data_change("2026-01-01T00:00:00Z", [({"Id": "1"}, {"Name": "x"}, {})]))
    with Pipeline("shop", "all", [output]) as pipeline:
        partition = pipeline.partition("t", dialect="googlesql", epoch=1, start=Timestamp(0))
        partition.push([record.replace(b'"Name":', b'"Name" ')])
        assert (pipeline.stats()["filtered"], pipeline.stats()["undecodable"]) == (1, 0)


@pytest.mark.parametrize("on_undecodable", ["stop", "dead-letter"])
def test_a_relay_says_nothing_of_what_it_leaves_out(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], on_undecodable: str
) -> None:
    """Not in frames, logs, errors, status or metrics; neither of a fine row nor of one that is broken."""
    output = {"table": [{"name": "*", "exclude_columns": ["name"]}]}
    with Faulty(SimulatorConfig(partitions=1, seed=3)) as faulty:
        broken = f'"{SENTINEL}-broken"'.encode()
        faulty.fault = lambda _query, messages: (m.replace(broken, broken[:-1] + b",") for m in messages)
        config = config_of(faulty, tmp_path, output, {}, on_undecodable=on_undecodable)
        relay, seen = Relay(config), ""
        relay.start()
        try:
            frames = [Frames(endpoint) for [endpoint] in relay.endpoints]
            for one in frames:
                one.until("tick")
            with StatusServer(relay, "127.0.0.1:0") as server:
                faulty.commit([insert("accounts", id=1, name=SENTINEL)])
                for one in frames:
                    one.until("changes")
                faulty.commit([insert("accounts", id=2, name=f"{SENTINEL}-broken")])
                if on_undecodable == "dead-letter":
                    frames[0].until("deadLetter")
                    frames[0].until("tick", 2)
                else:
                    eventually(lambda: bool(relay.problems()))
                seen += repr(relay.status()) + repr(relay.problems())
                try:
                    with urllib.request.urlopen(f"http://{server.address}/metrics") as answer:
                        seen += answer.read().decode()
                except OSError as error:
                    seen += repr(error)
        finally:
            relay.stop()
    for one in frames:
        one.close()
    seen += "".join(capfd.readouterr())
    assert any(holds_sentinel(frame) for message in frames[1].all for frame in message)
    assert not any(holds_sentinel(frame) for message in frames[0].all for frame in message)
    assert not holds_sentinel(seen)


@pytest.fixture
def churning() -> Iterator[Simulator]:
    """Splits, merges, and values cut at arbitrary places."""
    with Simulator(SimulatorConfig(partitions=4, churn=60, chop=3, chunk_bytes=2000, seed=7)) as simulator:
        yield simulator


def test_each_output_sends_what_it_chooses_and_one_subscriber_follows_all(
    churning: Simulator, tmp_path: Path
) -> None:
    """Each change that an output takes once, on its topic; rows stay in their bucket; nothing is missed."""
    bucketed = {"topic": "{database}/{stream}/{table}/{bucket}/", "buckets": 4, "values": "json"}
    config = config_of(
        churning, tmp_path, {}, {"tables": ["accounts"], "mod_types": ["INSERT", "DELETE"]}, bucketed
    )
    with Relay(config) as relay:
        endpoints = [endpoint for [endpoint] in relay.endpoints]
        with Subscriber(endpoints) as subscriber:
            assert subscriber.wait_joined(60)
            reading(relay, 4)
            churning.workload(WorkloadConfig(changes=600, large_every=0))
            committed = sorted(churning.committed())
            some = [
                line
                for line in committed
                if (one := json.loads(line))["table"] == "accounts" and one["mod_type"] != "UPDATE"
            ]
            assert 0 < len(some) < len(committed)
            expected = 2 * len(committed) + len(some)
            messages: list[Message] = []
            while sum(one.count for one in messages) < expected:
                messages.append(next(subscriber.messages(timeout=60)))
            left_out = relay.stats()["filtered"]
    sent: dict[int, list[str]] = {0: [], 1: [], 2: []}
    homes: dict[str, set[str]] = {}
    for one in messages:
        for change in one.changes():
            sent[one.output].append(change.canonical())
            if one.output == 2:
                homes.setdefault(f"{change.table} {change.keys}", set()).add(one.topic)
    assert [sorted(sent[output]) for output in range(3)] == [committed, some, committed]
    assert left_out == len(committed) - len(some)
    assert all(len(topics) == 1 for topics in homes.values())
    assert {topic.rsplit("/", 2)[1] for topics in homes.values() for topic in topics} == {"0", "1", "2", "3"}


def test_changes_that_are_left_out_count_as_handed_over(churning: Simulator, tmp_path: Path) -> None:
    """An output that takes nothing holds no position back."""
    with Relay(config_of(churning, tmp_path, {"tables": ["nowhere"]})) as relay:
        reading(relay, 4)
        churning.workload(WorkloadConfig(changes=50))
        last = max(json.loads(line)["version"] for line in churning.committed())
        eventually(lambda: str(relay.status()["watermark"]) >= last[:30])
        stats = relay.stats()
        assert (stats["filtered"], stats["changes"]) == (churning.changes, 0)


# ---------------------------------------------------------------- check --sample


def sample(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run `spanwire check --sample` on the page's example."""
    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    [output] = re.findall(r"^```toml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    [record] = re.findall(r"^```json\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    source = '[source]\nproject = "p"\ninstance = "in"\ndatabase = "shop"\nstream = "all_tables"\n\n'
    (folder / "relay.toml").write_text(source + output, encoding="utf-8")
    (folder / "changes.jsonl").write_text(record, encoding="utf-8")
    (folder / "hash.key").write_text("0123456789abcdef\n", encoding="utf-8")
    command = [sys.executable, "-c", "from spanwire.cli import main; main()"]
    command += ["check", "relay.toml", "--sample", "changes.jsonl", *options]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=150, check=False)


def test_a_sample_shows_what_would_go_out(tmp_path: Path) -> None:
    """The page's example, in the bucket that the page's program computes, without an address in the clear."""
    done = sample(tmp_path)
    assert done.returncode == 0, done.stderr
    assert "output[0] (pub): sends 1 change, leaves out 0\n" in done.stdout
    assert 'shop/all_tables/orders/12/ INSERT keys {"id": "1"}' in done.stdout
    assert "a@example.com" not in done.stdout
    [output] = json.loads(sample(tmp_path, "--json").stdout)["outputs"]
    [change] = output["changes"]
    assert (change["new"]["region"], change["new"]["amount"]) == ("eu", "120.5")
    assert re.fullmatch("[0-9a-f]{64}", change["new"]["email"])


def test_a_sample_that_is_none_is_refused_by_line(tmp_path: Path) -> None:
    """With what is missing in it."""
    source = {"project": "p", "instance": "in", "database": "shop", "stream": "s"}
    config = parse({"source": source, "output": [{"kind": "pub", "bind": "tcp://127.0.0.1:*"}]})
    for text, said in [("{", "is not JSON"), ("[]", 'has no "table_name"'), ('{"mods": []}', "has no")]:
        (tmp_path / "other.jsonl").write_text(f"\n{text}")
        with pytest.raises(ConfigError, match=f"other.jsonl:2: {said}"):
            show(config, tmp_path / "other.jsonl")
    with pytest.raises(ConfigError, match="gone: cannot be read"):
        show(config, tmp_path / "gone")
