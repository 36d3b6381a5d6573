"""The relay's numbers as Prometheus metrics: read from the core when asked, nothing is done per record.

docs/metrics.md lists them all.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from spanwire._core import Timestamp
from spanwire.relay import Relay
from spanwire.router import REASONS
from spanwire.timestamps import nanoseconds

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

_RINGS = {
    "bytes": ("spanwire_ring_bytes", "Memory that the messages kept for repair hold."),
    "max_bytes": ("spanwire_ring_max_bytes", "Its bound."),
    "messages": ("spanwire_ring_messages", "Messages that are kept, ticks included."),
    "flows": ("spanwire_ring_flows", "Flows with a message that is kept."),
    "oldest": (
        "spanwire_ring_oldest_timestamp_seconds",
        "Up to when the oldest that is kept reaches.",
    ),
}
_FEED_COUNTERS = {
    "requests": ("spanwire_feed_requests", "Requests taken."),
    "silent": ("spanwire_feed_silent_peers", "Peers forgotten because they said nothing."),
    "messages": ("spanwire_feed_messages", "Messages sent, summed over peers."),
    "bytes": ("spanwire_feed_bytes", "Bytes sent, summed over peers."),
    "credit_waits": ("spanwire_feed_credit_waits", "Times a peer had no credit left for what there was."),
    "full": ("spanwire_feed_full", "Times a peer's connection took nothing."),
    "missed": ("spanwire_feed_missed_messages", "Messages gone before a peer came to them."),
}
_FEED_GAUGES = {
    "peers": ("spanwire_feed_peers", "Peers that are known."),
    "exchanges": ("spanwire_feed_exchanges", "Feeds and repairs that are open."),
}
_GROUP_COUNTERS = {
    "deliveries": ("spanwire_group_deliveries", "Messages given to members."),
    "redeliveries": ("spanwire_group_redeliveries", "Of those, messages that a member had had before."),
    "dead_letters": ("spanwire_group_dead_letters", "Changes given up, and written to the dead letters."),
}
_GROUP_GAUGES = {
    "members": ("spanwire_group_members", "Members that are there."),
    "waiting_messages": ("spanwire_group_waiting_messages", "Messages whose changes are not all handled."),
    "waiting_bytes": ("spanwire_group_waiting_bytes", "Bytes of those."),
    "watermark": ("spanwire_group_watermark_timestamp_seconds", "All changes up to here are handled."),
}
_Samples = list[tuple[list[str], dict[str, Any]]]
"""Values of labels, and the numbers by name."""


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
        yield from _families(_SENDER_COUNTERS, _SENDER_GAUGES, ["output", "endpoint"], senders)
        yield from _families({}, _RINGS, ["output"], _numbered(counters["rings"]))
        feeds = _numbered(counters["feeds"])
        yield from _families(_FEED_COUNTERS, _FEED_GAUGES, ["output"], feeds)
        yield _refused("spanwire_feed_refused_requests", "output", feeds)
        groups = [([one["name"]], one) for one in status["groups"]]
        yield from _families(_GROUP_COUNTERS, _GROUP_GAUGES, ["group"], groups)
        yield _refused("spanwire_group_refused_requests", "group", groups)
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
        replays.add_metric([endpoint], one["replays"]["served"])
        snapshots.add_metric([endpoint], one["snapshots"]["served"])
        running.add_metric([endpoint], one["snapshots"]["running"])
        for name, family in gauges.items():
            family.add_metric([endpoint], (one | one["replays"])[name])
    yield _refused("spanwire_refused_requests", "endpoint", [(one["endpoints"], one) for one in served])
    yield from (requests, replays, snapshots, running, *gauges.values())


def _refused(metric: str, label: str, samples: _Samples) -> Metric:
    family = CounterMetricFamily(metric, "Requests refused.", labels=[label, "reason"])
    for labels, numbers in samples:
        for reason in REASONS:
            family.add_metric([*labels, reason], numbers["refused"].get(reason, 0))
    return family


def _numbered(outputs: list[dict[str, Any] | None]) -> _Samples:
    """By output; those that have no such numbers left out."""
    return [([str(number)], one) for number, one in enumerate(outputs) if one is not None]


def _families(
    counters: dict[str, tuple[str, str]],
    gauges: dict[str, tuple[str, str]],
    labels: list[str],
    samples: _Samples,
) -> Iterable[Metric]:
    """A metric for each name."""
    for name, (metric, text) in counters.items():
        yield _fill(CounterMetricFamily(metric, text, labels=labels), name, samples)
    for name, (metric, text) in gauges.items():
        yield _fill(GaugeMetricFamily(metric, text, labels=labels), name, samples)


def _fill(
    family: CounterMetricFamily | GaugeMetricFamily, name: str, samples: _Samples
) -> CounterMetricFamily | GaugeMetricFamily:
    for labels, numbers in samples:
        if (value := numbers[name]) is not None:
            family.add_metric(labels, _number(value))
    return family


def _number(value: object) -> float:
    """Of a timestamp, seconds since 1970; of a list, how many there are."""
    if isinstance(value, str):
        value = Timestamp.parse(value)
    if isinstance(value, Timestamp):
        return nanoseconds(value) / 1e9
    return float(len(value) if isinstance(value, list) else value)  # type: ignore[arg-type]
