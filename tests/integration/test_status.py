"""Health and metrics over HTTP, from a relay that runs."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from integration.relays import Listener, Network, eventually
from integration.test_relay_simulator import reading, settings
from integration.test_replay import settings as with_replay
from prometheus_client.parser import text_string_to_metric_families

from spanwire import Member, Subscriber
from spanwire._core import Timestamp
from spanwire.errors import SocketError
from spanwire.relay import Relay
from spanwire.simulator import Simulator, SimulatorConfig, WorkloadConfig, insert
from spanwire.status import StatusServer, serve

DOCUMENTED = Path(__file__).parents[2] / "docs" / "metrics.md"


def fetch(server: StatusServer, path: str) -> tuple[int, str]:
    """Status code and body."""
    try:
        with urllib.request.urlopen(f"http://{server.address}{path}", timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    """Three partitions."""
    with Simulator(SimulatorConfig(partitions=3)) as running:
        yield running


def test_metrics_are_those_documented_and_count(simulator: Simulator, tmp_path: Path) -> None:
    """docs/metrics.md lists every metric that is exposed and no other; the numbers are the relay's."""
    outputs = [
        {"kind": kind, "bind": "tcp://127.0.0.1:*"} | ({"name": "mail"} if kind == "group" else {})
        for kind in ("pub", "feed", "group")
    ]
    with (
        Relay(with_replay(simulator, tmp_path, outputs)) as relay,
        Listener(relay.endpoints[0][0]) as listener,
        StatusServer(relay, "127.0.0.1:0") as server,
    ):
        reading(relay, 3)
        simulator.workload(WorkloadConfig(changes=50))
        listener.wait_for(simulator.changes)
        eventually(lambda: all(one["changes"] == simulator.changes for [one] in relay.stats()["outputs"]))
        samples = sampled(server)
    exposed = {name for name, _ in samples}
    documented = set(re.findall(r"^\| `(spanwire_\w+)`", DOCUMENTED.read_text(), re.MULTILINE))
    assert len(documented) > 20
    assert exposed == documented
    assert samples["spanwire_healthy", ""] == 1
    assert samples["spanwire_changes_total", ""] == simulator.changes
    assert samples["spanwire_output_changes_total", ""] == simulator.changes
    assert samples["spanwire_partitions", "running"] == 3
    assert samples["spanwire_source_bytes_total", ""] > 1000
    assert samples["spanwire_ring_max_bytes", ""] > samples["spanwire_ring_bytes", ""] > 1000
    oldest = min(change.commit_timestamp for change in listener.changes)
    newest = max(change.commit_timestamp for change in listener.changes)
    assert oldest.seconds <= samples["spanwire_ring_oldest_timestamp_seconds", ""] <= newest.seconds + 1


def sampled(server: StatusServer) -> dict[tuple[str, str], float]:
    """What /metrics tells, by name and state."""
    code, text = fetch(server, "/metrics")
    assert code == 200
    return {
        (sample.name, sample.labels.get("state", "")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_the_numbers_of_a_feed_and_of_a_group(simulator: Simulator, tmp_path: Path) -> None:
    """Peers and members that are there, what they were given, what came back and what was given up."""
    outputs = [
        {"kind": "feed", "bind": "tcp://127.0.0.1:*"},
        {"kind": "group", "bind": "tcp://127.0.0.1:*", "name": "mail", "slots": 1, "max_deliveries": 3},
    ]
    with (
        Relay(with_replay(simulator, tmp_path, outputs)) as relay,
        StatusServer(relay, "127.0.0.1:0") as server,
        Subscriber(relay.endpoints[0], kind="feed") as subscriber,
    ):
        reading(relay, 3)
        assert subscriber.wait_joined(60)
        simulator.commit([insert("accounts", id=1, name="Ada")])
        assert len(list(subscriber.receive(60))) == 1
        eventually(lambda: sampled(server)["spanwire_group_waiting_messages", ""] == 1)
        with Member(relay.endpoints[1][0], "mail") as member:
            for _ in range(3):
                assert member.receive(60) is not None
                member.reject("not today")
            eventually(lambda: sampled(server)["spanwire_group_dead_letters_total", ""] == 1)
            samples = sampled(server)
    assert samples["spanwire_feed_peers", ""] == samples["spanwire_feed_exchanges", ""] == 1
    assert samples["spanwire_feed_messages_total", ""] >= 1
    assert samples["spanwire_group_members", ""] == 1
    assert samples["spanwire_group_deliveries_total", ""] == 3
    assert samples["spanwire_group_redeliveries_total", ""] == 2
    assert samples["spanwire_group_waiting_messages", ""] == samples["spanwire_group_waiting_bytes", ""] == 0
    assert abs(samples["spanwire_group_watermark_timestamp_seconds", ""] - Timestamp.now().seconds) < 600


def test_the_counters_of_the_core_are_those_documented(simulator: Simulator, tmp_path: Path) -> None:
    """A counter that is added to the core must find its way into the page."""
    with Relay(settings(simulator, tmp_path)) as relay:
        stats = relay.stats()
    text = DOCUMENTED.read_text()
    counters = [name for name, value in stats.items() if not isinstance(value, list)]
    names = counters + list(stats["outputs"][0][0]) + list(stats["rings"][0])
    assert len(names) > 15
    assert [name for name in names if f"`{name}`" not in text] == []


def test_health_follows_the_partitions(simulator: Simulator, tmp_path: Path) -> None:
    """200 while all are read; 503 with a line for each that is not; 200 again when they are."""
    network = Network(simulator.address)
    config = settings(simulator, tmp_path, network.host)
    with Relay(config) as relay, StatusServer(relay, "127.0.0.1:0") as server:
        reading(relay, 3)
        assert fetch(server, "/healthz") == (200, '{"status": "ok"}\n')
        network.close()  # nobody listens there any more
        eventually(lambda: fetch(server, "/healthz")[0] == 503)
        eventually(lambda: len(json.loads(fetch(server, "/healthz")[1])["problems"]) == 3)
        [line, *_] = json.loads(fetch(server, "/healthz")[1])["problems"]
        assert re.match(r"interrupted: reading partition \S+: \S", line)
        assert "spanwire_interrupted_partitions 3.0" in fetch(server, "/metrics")[1]
        relay.stop(1)
        assert fetch(server, "/healthz")[0] == 503
        assert "the relay does not run" in fetch(server, "/healthz")[1]


def test_other_paths_and_methods_are_refused(simulator: Simulator, tmp_path: Path) -> None:
    """The server says what there is."""
    with Relay(settings(simulator, tmp_path)) as relay, StatusServer(relay, "127.0.0.1:0") as server:
        assert fetch(server, "/") == (404, "there are /healthz and /metrics\n")
        with pytest.raises(urllib.error.HTTPError, match="501"):
            urllib.request.urlopen(f"http://{server.address}/healthz", data=b"x", timeout=60)


def test_an_address_in_use_is_told_in_one_line(simulator: Simulator, tmp_path: Path) -> None:
    """With the setting's path; without an address nothing is served."""
    with Relay(settings(simulator, tmp_path)) as relay:
        with (
            StatusServer(relay, "127.0.0.1:0") as server,
            pytest.raises(SocketError, match=r"^status\.listen: cannot listen on .*in use; use another port"),
        ):
            StatusServer(relay, server.address)
        with serve(relay, "") as nothing:
            assert nothing is None
