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

from spanwire.errors import SocketError
from spanwire.relay import Relay
from spanwire.simulator import Simulator, SimulatorConfig, WorkloadConfig
from spanwire.status import StatusServer, serve

DOCUMENTED = Path(__file__).parents[2] / "docs" / "metrics.md"


def fetch(server: StatusServer, path: str) -> tuple[int, str]:
    """Status code and body."""
    try:
        with urllib.request.urlopen(f"http://{server.address}{path}", timeout=5) as answer:
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
    with (
        Relay(with_replay(simulator, tmp_path)) as relay,
        Listener(relay.endpoints[0][0]) as listener,
        StatusServer(relay, "127.0.0.1:0") as server,
    ):
        reading(relay, 3)
        simulator.workload(WorkloadConfig(changes=50))
        listener.wait_for(simulator.changes)
        eventually(lambda: relay.stats()["outputs"][0][0]["changes"] == simulator.changes)
        code, text = fetch(server, "/metrics")
        assert code == 200
        samples = {
            (sample.name, sample.labels.get("state", "")): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }
    exposed = {name for name, _ in samples}
    documented = set(re.findall(r"^\| `(spanwire_\w+)`", DOCUMENTED.read_text(), re.MULTILINE))
    assert len(documented) > 20
    assert exposed == documented
    assert samples["spanwire_healthy", ""] == 1
    assert samples["spanwire_changes_total", ""] == simulator.changes
    assert samples["spanwire_output_changes_total", ""] == simulator.changes
    assert samples["spanwire_partitions", "running"] == 3
    assert samples["spanwire_source_bytes_total", ""] > 1000


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
        eventually(lambda: fetch(server, "/healthz")[0] == 503, 10)
        eventually(lambda: len(json.loads(fetch(server, "/healthz")[1])["problems"]) == 3, 10)
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
            urllib.request.urlopen(f"http://{server.address}/healthz", data=b"x", timeout=5)


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
