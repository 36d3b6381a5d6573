"""A group's input: what its output sends, every message once and in order, from where the group is.

A thread reads the output's ring and sees to it that what is missing comes: from the ring, or read again from
Spanner. It stops reading while too much waits; what falls off the ring meanwhile is read again later. So the
live flow never waits for a group, and memory is bounded.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections import deque
from collections.abc import Sequence

import structlog

from spanwire._core import Message, Pipeline, Timestamp
from spanwire.config import Config
from spanwire.consumer.asks import AskHeads, AskRepair, AskReplay
from spanwire.consumer.facts import Tick
from spanwire.consumer.follower import Follower
from spanwire.consumer.reached import Reached
from spanwire.errors import ClosedError, Gap, RetentionExpired, SpanwireError
from spanwire.relay.group.task import Task
from spanwire.relay.rereading import Range, Read, Rereading
from spanwire.source.connect import Connection
from spanwire.source.retention import oldest_to_ask_for

_log = structlog.get_logger("spanwire.relay")

MOST_BYTES = 32 << 20
"""Of work that waits for the group before reading stops."""
_READ_BYTES = 1 << 20
_WAIT_S = 0.1
_IDLE_S = 0.005
_REPAIR_AT_ONCE = 16


class Intake:
    """Follows one output in this process. `take` is for the group's thread, all else is its own."""

    def __init__(self, config: Config, connection: Connection, pipeline: Pipeline, output: int) -> None:
        """`output`: its number on the wire. Nothing is followed before `start`."""
        self._config, self._connection, self._pipeline, self._output = config, connection, pipeline, output
        self._name = config.lanes[output].name
        self._ring = pipeline.ring(output)
        self._reader = self._ring.reader(oldest=True)
        self._lock = threading.Lock()
        self._tasks: deque[Task | Framed] = deque()
        self._bytes = 0
        self._given: Timestamp | None = None
        self._replay: _Replay | None = None
        self._stopping = threading.Event()
        self._follower: Follower | None = None
        self._thread = threading.Thread(target=self._run, name=f"intake-{output}", daemon=True)
        self._wake_in, self._wake_out = socket.socketpair()
        self._wake_in.setblocking(False)
        self._wake_out.setblocking(False)
        self._failing = False
        self.room = True
        """Whether the group takes more: it sets this, and what it has not taken is bounded too."""
        self.failure: BaseException | None = None
        """What ended it early."""

    @property
    def readable(self) -> int:
        """A descriptor that is readable when there is something to take."""
        return self._wake_out.fileno()

    def start(self, reached: Reached) -> None:
        """Follow from there on."""
        self._follower = Follower([""], start=reached)
        self._thread.start()

    def take(self) -> tuple[list[Task | Framed], Timestamp | None]:
        """What has come since, in order; dead letters as they came; and up to where that is all there is."""
        with self._lock:
            taken, self._tasks, self._bytes = list(self._tasks), deque(), 0
            return taken, self._given

    def quieten(self) -> None:
        """Have `readable` tell of what comes from now on."""
        with contextlib.suppress(BlockingIOError):
            while self._wake_out.recv(4096):
                pass

    @property
    def waits_for(self) -> str | None:
        """Why nothing comes at the moment; None where that is not so."""
        follower = self._follower
        return None if follower is None or not follower.waits_for_answer else follower.blocked_by

    def close(self) -> None:
        """End it; whoever waits for it is set free."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        if self._replay is not None:
            self._replay.close()
        self._wake_in.close()
        self._wake_out.close()

    def _run(self) -> None:
        follower = self._follower
        assert follower is not None
        try:
            while not self._stopping.is_set():
                self._turn(follower)
        except ClosedError:
            pass  # the pipeline has ended
        except Exception as error:
            self.failure = error
            self._wake()

    def _turn(self, follower: Follower) -> None:
        now = time.monotonic()
        if not self.room or self._bytes >= MOST_BYTES:
            time.sleep(_IDLE_S)
        elif not follower.waits_for_answer:
            # A read that is going on is looked at between two short waits.
            wait = _IDLE_S if self._replay is not None else _WAIT_S
            for frames in self._reader.read(wait, _READ_BYTES):
                self._hear(follower, frames, now)
        elif self._replay is not None:
            self._replay.wait(_IDLE_S)
        else:
            time.sleep(_IDLE_S)  # it is asked for again in a moment
        follower.time(now)
        for ask in follower.requests(now):
            if isinstance(ask, AskHeads):
                self._pipeline.tell(self._output)
                follower.done(ask.id, now)
            elif isinstance(ask, AskRepair):
                self._repair(follower, ask, now)
            else:
                self._read_again(ask)
        self._carry_on(follower, now)
        self._hand_on(follower)

    def _hear(self, follower: Follower, frames: list[bytes], now: float) -> None:
        message = Message.decode(frames)
        if message.kind == "tick":
            follower.tick(Tick.of(message, message.tick()), now)
        elif message.kind in ("changes", "deadLetter"):
            follower.message(Framed(message, frames), now, sum(map(len, frames)))

    def _repair(self, follower: Follower, ask: AskRepair, now: float) -> None:
        for first in range(ask.first, ask.last + 1, _REPAIR_AT_ONCE):
            last = min(ask.last, first + _REPAIR_AT_ONCE - 1)
            found = None
            if ask.incarnation == self._pipeline.incarnation:
                found = self._ring.find(ask.partition, ask.epoch, ask.topic, first, last)
            if found is None:
                follower.refused(ask.id, "gone", now=now)
                return
            for frames in found:
                follower.repaired(ask.id, Framed(Message.decode(frames), frames), sum(map(len, frames)))
        follower.done(ask.id, now)

    def _read_again(self, ask: AskReplay) -> None:
        if self._replay is not None:
            self._replay.close()
        say = _log.debug if self._failing else _log.info
        say("a group reads again", group=self._name, after=str(ask.after), until=str(ask.until))
        wanted = Range(ask.after, ask.until, self._output)
        self._replay = _Replay(ask.id, Rereading(self._config, self._connection, wanted))

    def _carry_on(self, follower: Follower, now: float) -> None:
        """Take what a re-read has brought, as long as there is room."""
        replay = self._replay
        if replay is None or not self.room or self._bytes >= MOST_BYTES:
            return
        for read in replay.take():
            for frames in read.messages:
                message = Message.decode(frames)
                follower.repaired(replay.id, Framed(message, frames), sum(map(len, frames)))
            follower.progress(replay.id, read.position)
        if not replay.over:
            return
        self._replay = None
        replay.close()
        error = replay.error
        if self._failing and (error is None or isinstance(error, RetentionExpired)):
            self._failing = False
            _log.info("a group could read again", group=self._name)
        if error is None:
            follower.done(replay.id, now)
        elif isinstance(error, RetentionExpired):
            edge, retention = error.fields.get("lost_to"), self._connection.retention
            oldest = oldest_to_ask_for(edge, retention, Timestamp.now())
            follower.refused(replay.id, "gone", oldest, str(error), now)
        elif isinstance(error, SpanwireError):
            say = _log.debug if self._failing else _log.warning
            say("a group cannot read again; it goes on trying", group=self._name, why=str(error))
            self._failing = True
            follower.refused(replay.id, "failed", text=str(error), now=now)
        else:
            raise error

    def _hand_on(self, follower: Follower) -> None:
        handed = False
        while self._bytes < MOST_BYTES and (item := follower.next()) is not None:
            if isinstance(item, Gap):
                # Nobody can be given what Spanner no longer has; the group goes on behind it.
                _log.error("changes are lost to a group", group=self._name, why=str(item))
                continue
            tasks = _tasks(follower, item)
            with self._lock:
                self._tasks += tasks
                self._bytes += sum(_size(one) for one in tasks)
            handed = handed or bool(tasks)
        follower.settle()
        with self._lock:
            moved = follower.watermark != self._given
            self._given = follower.watermark
        if handed or moved:
            self._wake()

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError, OSError):
            self._wake_in.send(b"!")


class Framed:
    """A message together with its frames: an `Arrival`."""

    def __init__(self, message: Message, frames: list[bytes]) -> None:
        self.whole, self.frames = message, frames
        self.incarnation, self.topic, self.kind = message.incarnation, message.topic, message.kind
        self.partition, self.epoch, self.sequence = message.partition, message.epoch, message.sequence
        self.stage, self.first, self.last = message.stage, message.first, message.last

    def changes(self) -> list[object]:
        """Its changes."""
        return list(self.whole.changes())


class _Replay:
    """A re-read that goes on beside; its thread waits while what it read is not taken."""

    def __init__(self, id: int, reading: Rereading) -> None:
        self.id = id
        self.error: BaseException | None = None
        self._reading = reading
        self._changed = threading.Condition()
        self._read: Read | None = None
        self._ended = self._closed = False
        self._thread = threading.Thread(target=self._run, name="group-replay", daemon=True)
        self._thread.start()

    @property
    def over(self) -> bool:
        """All it read was taken, and there is no more."""
        with self._changed:
            return self._ended and self._read is None

    def take(self) -> list[Read]:
        """What there is by now."""
        with self._changed:
            read, self._read = self._read, None
            self._changed.notify_all()
            return [] if read is None else [read]

    def wait(self, timeout: float) -> None:
        """Until there is something to take, or all has been."""
        with self._changed:
            self._changed.wait_for(lambda: self._read is not None or self._ended, timeout)

    def close(self) -> None:
        """End it, and wait until it has ended."""
        self._reading.stop()
        with self._changed:
            self._closed, self._read = True, None
            self._changed.notify_all()
        self._thread.join()

    def _run(self) -> None:
        try:
            for read in self._reading:
                with self._changed:
                    self._changed.wait_for(lambda: self._read is None or self._closed)
                    if self._closed:
                        return
                    self._read = read
                    self._changed.notify_all()
        except Exception as error:
            self.error = error
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()


def _tasks(follower: Follower, item: Framed) -> Sequence[Task | Framed]:
    """What of a message was not handed on before."""
    if item.kind == "deadLetter":
        return [item]
    fresh = len(follower.fresh(item))  # repetitions come before what is new
    return [Task(item.whole, item.frames, item.whole.count - fresh)] if fresh else []


def _size(one: Task | Framed) -> int:
    return sum(map(len, one.frames))
