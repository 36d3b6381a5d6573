"""A relay's life: open everything, run, drain, store, close."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from types import TracebackType
from typing import Any, Literal, Self

import structlog

from spanwire._core import Output, Pipeline, Timestamp
from spanwire.config import Config, OutputConfig
from spanwire.errors import ClosedError, SpanwireError, StoreError
from spanwire.records import PartitionRecord, State
from spanwire.relay.answering import Answering, Live, stream_id
from spanwire.relay.group.desk import Desk
from spanwire.relay.group.group import Group
from spanwire.relay.group.intake import Intake
from spanwire.relay.keeper import Keeper, Parts
from spanwire.source.connect import connect
from spanwire.source.initial import Asking, first_partitions
from spanwire.source.unknown import unknown_names
from spanwire.store import Store, open_store
from spanwire.words import counted

_STUCK_S = 10.0
"""An output that has taken nothing for so long, with something to take, is a problem."""
_FINISH_POLL_S = 0.05

_CORE_KINDS: dict[str, Literal["pub", "push", "feed", "ring"]] = {
    "pub": "pub",
    "push": "push",
    "feed": "feed",
    "group": "ring",
}
"""What an output is to the core, by its kind."""

_log = structlog.get_logger("spanwire.relay")


class Relay:
    """Reads one change stream and sends it on. A context manager: started on entry, stopped on exit.

    Threads: one that decides (`Keeper`), one for each partition that is read, and the core's senders.
    """

    def __init__(self, config: Config, *, drain_s: float = 10.0) -> None:
        """`drain_s`: how long outputs and groups may take to end what was read; `stop` may say otherwise."""
        self._config = config
        self._stop = threading.Event()
        self._ended = threading.Event()
        self._drain_s = drain_s
        self._drained = True
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None
        self._open = ExitStack()
        self._parts: Parts | None = None
        self._keeper: Keeper | None = None
        self._answering: list[Answering] = []
        self._groups: dict[int, Group] = {}
        self._asking = Asking()

    def start(self) -> None:
        """Open store, sockets and Spanner, then run on a thread of its own.

        Whatever cannot be opened is raised here: StoreError, SocketError, ConfigError, ConnectError.
        """
        config = self._config
        with ExitStack() as opening:
            store = open_store(config.store, config.source.identity)
            opening.callback(store.close)
            answering = [bind(config, one, opening) for one in config.replays]
            replay_endpoints = [endpoint for one in answering for endpoint in one.endpoints]
            groups = {
                number: open_group(config, one, store, opening) for number, one in config.groups.items()
            }
            pipeline = opening.enter_context(build_pipeline(config, replay_endpoints))
            connection = opening.enter_context(connect(config.source))
            for line in unknown_names(connection, config):
                _log.warning("a name that nothing has", where=line)
            for group in groups.values():
                opening.callback(group.close)  # before what it reads from
            self._parts = Parts(config, connection, store, pipeline)
            self._keeper = Keeper(self._parts)
            self._answering, self._groups = answering, groups
            for one in answering:
                one.start(Live(config, pipeline, self._newest))
            self._open = opening.pop_all()
        self._thread = threading.Thread(target=self._run, name="relay", daemon=True)
        self._thread.start()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the relay has ended; False when time ran out. Raises what ended it early."""
        ended = self._ended.wait(timeout)
        if ended and self._error is not None:
            raise self._error
        return ended

    def stop(self, timeout: float = 10.0) -> bool:
        """Stop reading, send what has been read, store progress, close.

        Whether all that was read could be handed over within `timeout` seconds; what could not will be
        read again from the stored progress.
        """
        self._drain_s = timeout
        self._stop.set()
        self._asking.cancel()
        if self._keeper is not None and self._thread is not None:
            self._keeper.wake()
            self._thread.join()
        return self._drained

    @property
    def endpoints(self) -> list[list[str]]:
        """Per output of the config, per sender: the address bound, wildcard ports resolved."""
        lanes = iter(self._live().pipeline.endpoints)
        beside = {
            "replay": iter([one.endpoints for one in self._answering]),
            "group": iter([[one.endpoint] for one in self._groups.values()]),
        }
        found = []
        for one in self._config.output:
            bound = [] if one.kind == "replay" else next(lanes)
            found.append(next(beside[one.kind]) if one.kind in beside else bound)
        return found

    def stats(self) -> dict[str, Any]:
        """The core's counters: see docs/metrics.md."""
        return self._live().pipeline.stats()

    def problems(self) -> list[str]:
        """Why the relay is not well, one line each; empty while it is."""
        if self._error is not None:
            return [str(self._error)]
        if self._keeper is None or self._ended.is_set():
            return ["the relay does not run"]
        found = [f"interrupted: {why}" for _, why in sorted(self._keeper.troubles().items())]
        if self._asking.trouble is not None:
            found.append(f"not begun: {self._asking.trouble}")
        found += [problem for one in self._answering if (problem := one.problem()) is not None]
        found += [problem for group in self._groups.values() if (problem := group.problem()) is not None]
        return found + _stuck_outputs(self.stats())

    def status(self) -> dict[str, Any]:
        """Partitions, positions, lag and counters, as plain values for JSON."""
        live = self._live()
        keeper, now = self._keeper, Timestamp.now()
        assert keeper is not None
        troubles = keeper.troubles()
        partitions = [
            _partition_status(one, keeper.position(one), now, troubles.get(one.token))
            for one in keeper.lineage.all()
            if one.state is not State.FINISHED
        ]
        watermark = min((one["position"] for one in partitions), default=None)
        return {
            "stream": str(self._config.source.identity),
            "running": not self._ended.is_set(),
            "incarnation": live.pipeline.incarnation,
            "endpoints": self.endpoints,
            "watermark": watermark,
            "lag_seconds": max((one["lag_seconds"] for one in partitions), default=None),
            "partitions": partitions,
            "problems": self.problems(),
            "counters": live.pipeline.stats(),
            "replay": [one.stats() for one in self._answering],
            "groups": [group.stats() for group in self._groups.values()],
        }

    def __enter__(self) -> Self:
        """Start it."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it."""
        self.stop()

    def _live(self) -> Parts:
        if self._parts is None:
            raise ClosedError("the relay has not been started")
        return self._parts

    def _newest(self) -> Timestamp | None:
        """The newest position of any partition; None before there are some."""
        keeper = self._keeper
        assert keeper is not None
        running = [one for one in keeper.lineage.all() if one.state is State.RUNNING]
        return max((keeper.position(one) for one in running), default=None)

    def _run(self) -> None:
        assert self._parts is not None
        assert self._keeper is not None
        try:
            self._begin(self._parts, self._keeper)
            while not self._stop.is_set() and not self._keeper.done():
                self._keeper.turn()
                self._watch_groups()
            self._wait_for_groups()
        except SpanwireError as error:
            self._fail(error)
        except Exception as error:
            self._fail(error)
        try:
            self._shut_down(self._parts, self._keeper)
        except Exception as error:
            self._fail(error)
        finally:
            self._open.close()
            self._ended.set()

    def _begin(self, parts: Parts, keeper: Keeper) -> None:
        """Go on from the store, or begin with the stream's first partitions, stored all together."""
        partitions = parts.store.load()
        source = self._config.source
        if partitions:
            if source.start != "store":
                _log.info("the store holds progress: source.start is not used", start=source.start)
        else:
            start = source.start_at or parts.connection.read_at
            roots = first_partitions(parts.connection, start, self._stop, self._asking)
            if not roots:
                return
            parts.store.initialise(roots)
            partitions = parts.store.load()
        self._start_groups(parts, keeper, partitions)
        keeper.begin(partitions)

    def _watch_groups(self) -> None:
        for group in self._groups.values():
            if group.failure is not None:
                raise group.failure

    def _wait_for_groups(self) -> None:
        """At the requested end all is read: let members handle it, for as long as outputs may take to end."""
        end, deadline = self._config.source.end_at, time.monotonic() + self._drain_s
        if end is None:
            return
        waiting = [group for group in self._groups.values() if not group.has_handled(end)]
        if waiting and not self._stop.is_set():
            _log.info("the end is read: groups finish", groups=[group.name for group in waiting])
        while waiting and time.monotonic() < deadline and not self._stop.wait(_FINISH_POLL_S):
            self._watch_groups()
            waiting = [group for group in waiting if not group.has_handled(end)]
        for group in waiting:
            _log.warning(
                "a group ends before it has handled everything; it goes on there when it is served again",
                group=group.name,
                watermark=group.stats()["watermark"],
                end=str(end),
            )

    def _start_groups(self, parts: Parts, keeper: Keeper, partitions: list[PartitionRecord]) -> None:
        """Serve the groups; new ones begin with all that this relay will read, or where they are told to."""
        reading = [one.complete_to for one in partitions if one.state is not State.FINISHED]
        for number, group in self._groups.items():
            start = self._config.lanes[number].start
            begin = (
                min(reading, default=parts.connection.read_at) if start == "now" else Timestamp.parse(start)
            )
            intake = Intake(self._config, parts.connection, parts.pipeline, number)
            group.start(intake, begin, self._config.store.interval_ms / 1000, keeper.wake)

    def _shut_down(self, parts: Parts, keeper: Keeper) -> None:
        deadline = time.monotonic() + self._drain_s
        stopped = keeper.stop_readers(self._drain_s)
        drained = parts.pipeline.drain(max(0.0, deadline - time.monotonic()))
        self._drained = stopped and drained
        if not isinstance(self._error, StoreError):
            keeper.close(drained=self._drained)
        if not self._drained:
            _log.warning("not all that was read could be sent in time; it will be read again")

    def _fail(self, error: BaseException) -> None:
        if self._error is None:
            self._error = error
            _log.error("the relay ends", why=str(error))


def bind(config: Config, output: OutputConfig, opening: ExitStack) -> Answering:
    """An output of kind "replay", bound until `opening` closes."""
    answering = Answering(config, output)
    opening.callback(answering.close)
    return answering


def open_group(config: Config, output: OutputConfig, store: Store, opening: ExitStack) -> Group:
    """An output of kind "group", bound until `opening` closes."""
    desk = Desk(output.bind[0])
    opening.callback(desk.close)
    return Group(output, stream_id(config.source.identity), store, desk)


def build_pipeline(
    config: Config, replay_endpoints: Sequence[str] = (), *, only: int | None = None
) -> Pipeline:
    """The core's side of a config: outputs bound, nothing read yet. SocketError, ConfigError.

    `replay_endpoints`: where consumers ask for what they missed; ticks tell them. `only`: with this output of
    the config alone.
    """
    source = config.source
    outputs = [
        Output(
            _CORE_KINDS[one.kind],
            [] if one.kind == "group" else one.bind,
            values=one.values,
            on_full=None if one.kind in ("feed", "group") else one.on_full,
            topic=one.topic,
            choice=one.choice(f"output[{number}]"),
            options=one.options,
        )
        for number, one in enumerate(config.output)
        if one.kind != "replay" and only in (None, number)
    ]
    return Pipeline(
        source.database,
        source.stream,
        outputs,
        topic=source.topic,
        on_undecodable=source.on_undecodable,
        on_misfit=source.on_misfit,
        options={
            "io_threads": source.io_threads,
            "tick_ms": source.tick_ms,
            "max_record_bytes": source.max_record_bytes,
        },
        replay_endpoints=replay_endpoints,
        stream_id=stream_id(source.identity),
    )


Beside = Callable[[Relay], AbstractContextManager[object]]


def run(
    config: Config, stop: threading.Event, *, beside: Beside | None = None, drain_s: float = 10.0
) -> None:
    """Run a relay until `stop` is set, the requested end is reached, or it fails: then raises why.

    `beside` makes what runs as long as the relay does, such as the status server.
    """
    with Relay(config, drain_s=drain_s) as relay, nullcontext() if beside is None else beside(relay):
        while not relay.wait(0.1):
            if stop.is_set():
                relay.stop(drain_s)


def _partition_status(
    one: PartitionRecord, position: Timestamp, now: Timestamp, trouble: str | None
) -> dict[str, Any]:
    lag = (now.seconds - position.seconds) + (now.nanos - position.nanos) / 1e9
    return {
        "token": one.token,
        "state": one.state.value,
        "position": str(position),
        "lag_seconds": round(max(0.0, lag), 3),
        "epoch": one.epoch,
        "trouble": trouble,
    }


def _stuck_outputs(stats: dict[str, Any]) -> list[str]:
    found = []
    for senders in stats["outputs"]:
        for sender in senders:
            if sender["failure"] is not None:
                found.append(f"output {sender['endpoint']} failed: {sender['failure']}")
            elif sender["detached"]:
                found.append(
                    f"output {sender['endpoint']} was full and is set aside: "
                    f"{counted(sender['skipped_changes'], 'change')} not sent"
                )
            elif sender["stuck_seconds"] > _STUCK_S:
                found.append(
                    f"output {sender['endpoint']} takes nothing since {sender['stuck_seconds']:.0f} s"
                )
    return found
