"""A relay that is killed and started again, seen from a consumer: every change arrives or lies in a gap."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

from integration.processes import reads, relay
from integration.relays import eventually
from support.ports import free_endpoint

from spanwire import Change, Subscriber
from spanwire._core import RecordVersion, Timestamp
from spanwire.errors import Gap
from spanwire.simulator import Simulator, SimulatorConfig, WorkloadConfig


class Consumer:
    """Collects on a thread of its own what it is given, until it is told to stop."""

    def __init__(self, endpoint: str) -> None:
        self.changes: list[Change] = []
        self.gaps: list[Gap] = []
        self.watermark: Timestamp | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(endpoint,))
        self._thread.start()

    def _run(self, endpoint: str) -> None:
        with Subscriber(endpoint, on_gap=self.gaps.append, receive_high_water_mark=0) as subscriber:
            while not self._stop.is_set():
                self.changes += subscriber.receive(0.1)
                self.watermark = subscriber.watermark

    def wait_for(self, end: Timestamp | None) -> None:
        """Wait until the watermark is past this."""
        deadline = time.monotonic() + 60
        while self.watermark is None or (end is not None and self.watermark <= end):
            assert time.monotonic() < deadline, (self.watermark, end)
            time.sleep(0.02)

    def stop(self) -> None:
        """Stop receiving."""
        self._stop.set()
        self._thread.join()


def moment(bound: RecordVersion | Timestamp | None) -> Timestamp | None:
    """The commit timestamp of a gap's bound."""
    return bound.commit_timestamp if isinstance(bound, RecordVersion) else bound


def covers(gap: Gap, topic: str, when: Timestamp) -> bool:
    """Whether a change may lie in a gap, as far as its topic and time tell."""
    after, before = moment(gap.fields["after"]), moment(gap.fields["before"] or gap.fields["last"])
    return (
        gap.fields["topic"] in (None, topic)
        and (after is None or after <= when)
        and (before is None or when <= before)
    )


def test_every_change_arrives_once_or_lies_in_a_gap(tmp_path: Path) -> None:
    """Through kills at any moment and an orderly stop, while partitions split and merge."""
    endpoint = free_endpoint()
    database = SimulatorConfig(project="p", instance="i", database="shop", stream="all", seed=7, churn=400)
    config = tmp_path / "relay.toml"
    with Simulator(database) as simulator:
        output = f'[[output]]\nkind = "pub"\nbind = "{endpoint}"\n'
        config.write_text(reads(simulator, tmp_path) + output)
        consumer = Consumer(endpoint)
        try:
            for orderly in (False, False, True, False):
                with relay(config) as process:
                    consumer.wait_for(consumer.watermark)  # it has joined, or is back
                    before = len(consumer.changes)
                    simulator.workload(WorkloadConfig(changes=1500, rate=1500))
                    # Killed before it has sent anything it would show nothing.
                    eventually(lambda before=before: len(consumer.changes) > before + 1000)
                    if orderly:
                        process.terminate()
                        assert process.wait(60) == 0, (tmp_path / "relay.log").read_text()
                simulator.workload(WorkloadConfig(changes=50))  # while nobody reads
            with relay(config):
                consumer.wait_for(consumer.watermark)
                last = simulator.workload(WorkloadConfig(changes=200, rate=200)).last
                consumer.wait_for(Timestamp(last // 10**9, last % 10**9))
        finally:
            consumer.stop()
        committed = {json.loads(line)["version"]: line for line in simulator.committed()}
    delivered = [change.canonical() for change in consumer.changes]
    versions = [str(change.version) for change in consumer.changes]
    assert len(set(versions)) == len(versions), "handed over twice"
    assert all(committed.get(version) == line for version, line in zip(versions, delivered, strict=True))
    assert len(delivered) > 4000
    missing = committed.keys() - set(versions)
    for version in missing:
        change = json.loads(committed[version])
        when = Timestamp.parse(version.split("/")[0])
        topic = f"shop/all/{change['table']}/"
        assert any(covers(gap, topic, when) for gap in consumer.gaps), version
    newest: dict[str, RecordVersion] = {}
    for change in consumer.changes:
        key = f"{change.table}/{change.keys}"
        assert key not in newest or newest[key] < change.version, "a key's versions do not rise"
        newest[key] = change.version
