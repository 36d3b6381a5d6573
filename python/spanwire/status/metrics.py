"""The relay's numbers as Prometheus metrics: read from the core when asked, nothing is done per record.

docs/metrics.md lists them all.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from spanwire.relay import Relay
from spanwire.router import REASONS

_CORE = {
    "pushes": ("spanwire_source_messages", "Messages taken from Spanner."),
    "bytes": ("spanwire_source_bytes", "Bytes taken from Spanner."),
    "records": ("spanwire_records", "Data change records taken, those that came again included."),
    "changes": ("spanwire_changes", "Row changes sent on."),
    "duplicates": ("spanwire_duplicate_changes", "Row changes dropped: they had been handed over before."),
    "filtered": (
        "spanwire_filtered_changes",
        "Row changes that outputs left out by choice, over all outputs.",
    ),
    "undecided": (
        "spanwire_undecided_changes",
        "Row changes sent because a condition on their row could not be decided, over all outputs.",
    ),
    "heartbeats": ("spanwire_heartbeats", "Messages from Spanner that held a heartbeat."),
    "undecodable": ("spanwire_undecodable_changes", "Changes that could not be decoded."),
    "misfits": ("spanwire_misfit_values", "Values that did not fit their column: sent as text, or raw."),
    "dead_letters": ("spanwire_dead_letters", "Records sent raw to the dead letters."),
}
_SENDER_COUNTERS = {
    "messages": ("spanwire_output_messages", "Messages handed to the socket."),
    "bytes": ("spanwire_output_bytes", "Bytes handed to the socket."),
    "changes": ("spanwire_output_changes", "Row changes handed to the socket."),
    "ticks": ("spanwire_output_ticks", "Ticks handed to the socket."),
    "skipped_messages": ("spanwire_output_skipped_messages", "Messages not sent: the output was set aside."),
    "skipped_changes": ("spanwire_output_skipped_changes", "Row changes not sent: the output was set aside."),
    "detachments": ("spanwire_output_detachments", "Times the output was set aside for being full."),
    "errors": ("spanwire_output_errors", "Errors of the socket."),
    "blocked_seconds": ("spanwire_output_blocked_seconds", "Time that reading waited for the output."),
}
_SENDER_GAUGES = {
    "queued_messages": ("spanwire_output_queued_messages", "Messages waiting for the socket."),
    "queued_bytes": ("spanwire_output_queued_bytes", "Bytes waiting for the socket."),
    "stuck_seconds": (
        "spanwire_output_stuck_seconds",
        "How long the socket has taken nothing, while it had to.",
    ),
    "detached": ("spanwire_output_detached", "1 while the output is set aside, else 0."),
}


class RelayCollector(Collector):
    """All metrics of one relay."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay

    def collect(self) -> Iterable[Metric]:
        """The numbers as they are now."""
        status = self._relay.status()
        yield GaugeMetricFamily(
            "spanwire_healthy", "1 while the relay is well, else 0.", value=float(not status["problems"])
        )
        yield from _partitions(status)
        counters = status["counters"]
        for name, (metric, text) in _CORE.items():
            yield CounterMetricFamily(metric, text, value=counters[name])
        senders = [
            ([str(number), sender["endpoint"]], sender)
            for number, output in enumerate(counters["outputs"])
            for sender in output
        ]
        for name, (metric, text) in _SENDER_COUNTERS.items():
            yield _fill(CounterMetricFamily(metric, text, labels=["output", "endpoint"]), name, senders)
        for name, (metric, text) in _SENDER_GAUGES.items():
            yield _fill(GaugeMetricFamily(metric, text, labels=["output", "endpoint"]), name, senders)
        yield from _requests(status["replay"])


def _partitions(status: dict[str, Any]) -> Iterable[Metric]:
    partitions = GaugeMetricFamily(
        "spanwire_partitions", "Partitions that have not finished.", labels=["state"]
    )
    for state in ("created", "scheduled", "running"):
        partitions.add_metric([state], sum(one["state"] == state for one in status["partitions"]))
    yield partitions
    interrupted = sum(one["trouble"] is not None for one in status["partitions"])
    yield GaugeMetricFamily(
        "spanwire_interrupted_partitions", "Partitions whose reading is interrupted.", value=interrupted
    )
    lag = GaugeMetricFamily(
        "spanwire_lag_seconds", "How far the partition that is furthest behind is behind."
    )
    if status["lag_seconds"] is not None:
        lag.add_metric([], status["lag_seconds"])
    yield lag


def _requests(served: list[dict[str, Any]]) -> Iterable[Metric]:
    """What peers asked of the outputs of kind "replay"."""
    requests = CounterMetricFamily("spanwire_requests", "Requests taken.", labels=["endpoint", "kind"])
    refused = CounterMetricFamily(
        "spanwire_refused_requests", "Requests refused.", labels=["endpoint", "reason"]
    )
    replays = CounterMetricFamily("spanwire_replays", "Re-reads of Spanner that ended.", labels=["endpoint"])
    snapshots = CounterMetricFamily("spanwire_snapshots", "Snapshots that ended.", labels=["endpoint"])
    running = GaugeMetricFamily("spanwire_running_snapshots", "Snapshots that run.", labels=["endpoint"])
    gauges = {
        "peers": GaugeMetricFamily("spanwire_peers", "Peers that ask.", labels=["endpoint"]),
        "running": GaugeMetricFamily("spanwire_running_replays", "Re-reads that run.", labels=["endpoint"]),
        "queued": GaugeMetricFamily("spanwire_queued_replays", "Re-reads that wait.", labels=["endpoint"]),
    }
    for one in served:
        [endpoint] = one["endpoints"]
        for kind, count in one["begun"].items():
            requests.add_metric([endpoint, kind], count)
        for reason in REASONS:
            refused.add_metric([endpoint, reason], one["refused"].get(reason, 0))
        replays.add_metric([endpoint], one["replays"]["served"])
        snapshots.add_metric([endpoint], one["snapshots"]["served"])
        running.add_metric([endpoint], one["snapshots"]["running"])
        for name, family in gauges.items():
            family.add_metric([endpoint], (one | one["replays"])[name])
    yield from (requests, refused, replays, snapshots, running, *gauges.values())


def _fill(
    family: CounterMetricFamily | GaugeMetricFamily,
    name: str,
    senders: list[tuple[list[str], dict[str, Any]]],
) -> Metric:
    for labels, sender in senders:
        family.add_metric(labels, float(sender[name]))
    return family
