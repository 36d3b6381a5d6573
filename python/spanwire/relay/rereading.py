"""One bounded re-read of the whole stream from Spanner, beside the live flow: who replays takes it from here.

It is read as the live stream is, by the same rules, into a pipeline of its own. Its one output is a ring
that waits for its reader. So memory is bounded by the ring and the queue in front of it, a change counts
as handed over once it was taken from here, and the positions that come with the messages are true by
construction.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace

from spanwire._core import Output, Pipeline, Timestamp
from spanwire.config import Config, StoreConfig
from spanwire.records import State
from spanwire.relay.keeper import Keeper, Parts
from spanwire.source.connect import Connection
from spanwire.source.initial import Asking, first_partitions
from spanwire.store import MemoryStore

MOST_CHANGES = 10_000
_RING_BYTES = 6 << 20
_QUEUE_BYTES = 2 << 20
"""In front of the ring. It fills while the ring waits for its reader: both together are the bound."""
_WAIT_S = 0.005
_LOOK_S = 0.1
_STOP_S = 10.0


@dataclass(frozen=True)
class Range:
    """What is read again: all changes later than `after`, up to and including `until`."""

    after: Timestamp
    until: Timestamp
    output: int
    """The output of the relay whose settings it is read with: its number, as in `Header.output`."""
    batch_changes: int = 0
    """Changes that a message has at the most; 0: as the output's settings say."""


@dataclass(frozen=True)
class Read:
    """What was read, in order."""

    messages: list[list[bytes]]
    """Of changes and dead letters, four frames each."""
    position: Timestamp
    """All changes up to here came before these messages; it never goes back."""


class Rereading:
    """Reads one range again; iterate over it once. `stop` may be called from any thread and ends it soon.

    Iteration raises RetentionExpired where the stream does not keep the range any more, and whatever else
    ends a relay's reading.
    """

    def __init__(self, config: Config, connection: Connection, wanted: Range) -> None:
        ends = {"start": str(wanted.after), "end": str(wanted.until)}
        self._config = config.model_copy(
            update={
                "source": config.source.model_copy(update=ends),
                "store": StoreConfig(kind="memory", interval_ms=50),
            }
        )
        self._connection = connection
        self._wanted = wanted
        self._stop = threading.Event()
        self._asking = Asking()

    def stop(self) -> None:
        """End it: iteration ends after what it is at."""
        self._stop.set()
        self._asking.cancel()

    def __iter__(self) -> Iterator[Read]:
        """Messages as they are read, and positions as they rise."""
        wanted, config = self._wanted, self._config
        tick = f"{config.source.database}/{config.source.stream}/_tick/".encode()
        with ExitStack() as opened:
            pipeline = opened.enter_context(ring_pipeline(config, wanted.output, wanted.batch_changes))
            taken = pipeline.ring(0).reader()
            store = MemoryStore(config.source.identity)
            roots = first_partitions(self._connection, wanted.after, self._stop, self._asking)
            # Everything up to `after` counts as handed over: none of it is sent.
            store.initialise([replace(root, position=wanted.after) for root in roots])
            keeper = Keeper(Parts(config, self._connection, store, pipeline, beside=True))
            opened.callback(_end, keeper, pipeline)
            keeper.begin(store.load())
            position, told = wanted.after, wanted.after
            turned_at = looked_at = time.monotonic()
            while not self._stop.is_set():
                over, now = keeper.done(), time.monotonic()
                # Handed over is what was taken before. To look at all partitions takes its time.
                if over:
                    position = wanted.until
                elif now - looked_at >= _LOOK_S:
                    position, looked_at = max(position, _watermark(keeper, wanted)), now
                messages = [frames for frames in taken.read(_WAIT_S) if frames[0] != tick]
                if messages or position > told:
                    yield Read(messages, position)
                    told = position
                if over:
                    return
                if keeper.is_due(time.monotonic() - turned_at):
                    keeper.turn(0)
                    turned_at = time.monotonic()


def ring_pipeline(config: Config, output: int, batch_changes: int = 0) -> Pipeline:
    """As the relay's, with one of its outputs: a ring that waits for its reader.

    `batch_changes`: those that a message has at the most; 0: as the output's settings say.
    """
    source, lane = config.source, config.lanes[output]
    options = lane.batch_options | {
        "ring_bytes": _RING_BYTES,
        "queue_bytes": _QUEUE_BYTES,
        "number": output,
    }
    if batch_changes:
        options["batch_changes"] = min(batch_changes, options.get("batch_changes", MOST_CHANGES))
    ring = Output(
        "ring",
        [],
        values=lane.values,
        on_full="block",
        topic=lane.topic,
        choice=lane.choice(),
        options=options,
    )
    return Pipeline(
        source.database,
        source.stream,
        [ring],
        topic=source.topic,
        on_undecodable=source.on_undecodable,
        on_misfit=source.on_misfit,
        options={"io_threads": 1, "tick_ms": 1000, "max_record_bytes": source.max_record_bytes},
    )


def _watermark(keeper: Keeper, wanted: Range) -> Timestamp:
    """Up to where all has been taken: the least of all partitions that have not been read to their end."""
    reading = [
        keeper.complete_to(one)
        for one in keeper.lineage.all()
        if one.state is not State.FINISHED and not keeper.lineage.is_complete(one.token)
    ]
    return min([wanted.until, *reading])


def _end(keeper: Keeper, pipeline: Pipeline) -> None:
    """A reader may wait for the ring, which nobody reads any more: closing it sets that reader free."""
    keeper.stop_readers(0.0)
    pipeline.close()
    keeper.stop_readers(_STOP_S)
