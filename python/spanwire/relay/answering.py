"""What an output of kind "replay" answers: heads, repair, replay and snapshot, each as its request asks."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from spanwire._core import Pipeline, Ring, Timestamp
from spanwire.config import Config, OutputConfig
from spanwire.errors import ConfigError
from spanwire.records import StreamIdentity
from spanwire.relay.replays import Replays, Wanted, topics_of
from spanwire.relay.rereading import Range
from spanwire.relay.snapshots import Snapshots
from spanwire.router import Handler, Limits, Refusal, Router, Sending

_AT_ONCE = 16
"""Messages of a repair that are looked up in one go."""
_MOST_SEQUENCES = 1_000_000
_FUTURE_S = 60
"""So far ahead of the newest that is known a timestamp may lie: clocks differ."""


def stream_id(identity: StreamIdentity) -> bytes:
    """A stream as requests name it: the first 16 bytes of SHA-256 of its resource path."""
    return hashlib.sha256(str(identity).encode()).digest()[:16]


@dataclass(frozen=True)
class Live:
    """What the answers need of the relay that runs."""

    config: Config
    pipeline: Pipeline
    newest: Callable[[], Timestamp | None]
    """The newest position of any partition."""


class Answering:
    """One output of kind "replay": bound from construction on, answers from `start` to `close`."""

    def __init__(self, config: Config, output: OutputConfig) -> None:
        """Bind. SocketError when the port is in use."""
        limits = Limits(peers=output.connections)
        stream = stream_id(config.source.identity)
        self._router = Router(output.bind, stream, {}, limits)
        self._replays = Replays(config, at_once=output.max_replays, queued=output.queued_replays)
        self._snapshots = Snapshots(config, output, stream)
        self._started = False

    @property
    def endpoints(self) -> list[str]:
        """Where it is bound, wildcard ports resolved."""
        return self._router.endpoints

    def start(self, live: Live) -> None:
        """Begin to answer."""
        for kind, handler in handlers(live, self._replays, self._snapshots).items():
            self._router.handle(kind, handler)
        self._router.start()

    def close(self) -> None:
        """End what is open, with a word to its peers."""
        self._router.close()
        self._replays.close()
        self._snapshots.close()

    def stats(self) -> dict[str, Any]:
        """What peers did and what is being done for them: see docs/metrics.md."""
        return {
            **self._router.stats(),
            "replays": self._replays.stats(),
            "snapshots": self._snapshots.stats(),
        }

    def problem(self) -> str | None:
        """Why it does not answer any more."""
        failure = self._router.failure
        return None if failure is None else f"output {self.endpoints[0]} failed: {failure}"


def handlers(live: Live, replays: Replays, snapshots: Snapshots) -> dict[str, Handler]:
    """Who serves which kind of request."""
    return {
        "heads": lambda request, sending: _heads(live, request, sending),
        "repair": lambda request, sending: _repair(live, request, sending),
        "replay": lambda request, sending: replays.ask(wanted_of(live, request), sending),
        "snapshot": snapshots.handler(
            lambda request: _lane(live, request), lambda topic, lane: may_exist(topic, live.config, lane)
        ),
    }


def _heads(live: Live, request: dict[str, Any], sending: Sending) -> None:
    """Tell the head of every flow of an output, in its next tick."""
    _lane(live, request)
    live.pipeline.tell(request["output"])
    sending.done()


def _repair(live: Live, request: dict[str, Any], sending: Sending) -> None:
    """The very messages of a flow, from memory."""
    _lane(live, request)
    first, last = request["first"], request["last"]
    if len(request["topics"]) != 1:
        raise Refusal("malformed", f"a repair names one topic, this one {len(request['topics'])}")
    if len(request["partition"]) != 16:
        raise Refusal("malformed", "a repair names a partition by its 16 bytes")
    if last < first:
        raise Refusal("malformed", f"last, {last}, is before first, {first}")
    if last - first >= _MOST_SEQUENCES:
        raise Refusal("tooLarge", f"a repair is of {_MOST_SEQUENCES} messages at the most; ask for a replay")
    if request["incarnation"] != live.pipeline.incarnation:
        raise Refusal("gone", "another relay process sent these messages; ask for a replay")
    try:
        ring = live.pipeline.ring(request["output"])
    except ConfigError:
        raise Refusal("gone", "this output keeps no messages (ring_bytes = 0); ask for a replay") from None
    sending.supply(_messages(ring, request))


def _messages(ring: Ring, request: dict[str, Any]) -> Iterator[list[bytes]]:
    partition, epoch, topic = request["partition"], request["epoch"], request["topics"][0]
    for first in range(request["first"], request["last"] + 1, _AT_ONCE):
        last = min(first + _AT_ONCE - 1, request["last"])
        found = ring.find(partition, epoch, topic, first, last)
        if found is None:
            raise Refusal("gone", f"messages {first} to {last} are not kept any more; ask for a replay")
        yield from found


def wanted_of(live: Live, request: dict[str, Any]) -> Wanted:
    """What a replay asks for; Refusal where that makes no sense."""
    lane = _lane(live, request)
    after, until = request["after"], request["until"]
    newest = max(Timestamp.now(), live.newest() or Timestamp.now())
    if after is None:
        raise Refusal("malformed", "a replay needs after, a timestamp")
    until = until or max(after, live.newest() or after)
    ahead = Timestamp(newest.seconds + _FUTURE_S, newest.nanos)
    for name, value in (("after", after), ("until", until)):
        if value > ahead:
            raise Refusal(
                "future", f"{name}, {value}, lies in the future; the newest that is known is {newest}"
            )
    if until < after:
        raise Refusal("malformed", f"until, {until}, is before after, {after}")
    for topic in request["topics"]:
        if not may_exist(topic, live.config, lane):
            raise Refusal(
                "unknownTopic", f'no topic of output {request["output"]} begins with "{topic[:200]}"'
            )
    return Wanted(
        Range(after, until, request["output"]),
        topics_of(request["topics"]),
        request["rate"],
        request["limit"],
    )


def may_exist(topic: str, config: Config, lane: OutputConfig) -> bool:
    """Whether a topic of an output can begin so, by what stands before the table in its template."""
    source = config.source
    own = f"{source.database}/{source.stream}/"
    template = (lane.topic or source.topic).replace("{database}", source.database)
    head = template.replace("{stream}", source.stream).split("{", 1)[0]
    return any(
        topic.startswith(beginning) or beginning.startswith(topic)
        for beginning in (head, f"{own}_dead/", f"{own}_tick/")
    )


def _lane(live: Live, request: dict[str, Any]) -> OutputConfig:
    lanes, number = live.config.lanes, int(request["output"])
    if number >= len(lanes):
        raise Refusal(
            "unknownOutput", f"there is no output {number}; they are numbered 0 to {len(lanes) - 1}"
        )
    return lanes[number]
