"""`Subscriber`: every change of the topics it follows, once, in order, or word of what cannot be had."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import zmq

from spanwire._core import Change, Message, Timestamp
from spanwire.consumer import letters
from spanwire.consumer.asking import Asking
from spanwire.consumer.cursor import Cursor
from spanwire.consumer.facts import DEAD_LEVEL, TICK_LEVEL, side_topics
from spanwire.consumer.inbox import Inbox
from spanwire.consumer.live import Feed, Live, Pub
from spanwire.consumer.reached import Reached
from spanwire.consumer.receiver import Receiver, left_until, listed, poll
from spanwire.consumer.transactions import MOST_BYTES, Transaction, TransactionOrder, Waiting
from spanwire.errors import ClosedError, ConfigError, FormatError, Gap
from spanwire.timestamps import start_problem, timestamp_problem
from spanwire.words import counted

_log = logging.getLogger("spanwire.consumer")  # a library: whoever uses it decides where it goes
_STALE_TICKS = 3
"""A relay that has not ticked for so many intervals is not there."""
_LOOK_S = 0.1
_HELD_BACK_S = 30.0
"""Transactions that wait for so long are worth a word."""


class Subscriber(Receiver):
    """Follows `pub` or `feed` outputs of relays. A context manager; iterable, sync and asyncio.

    Each change is handed over once, in order per key. What was lost on the way is asked for again, where
    a relay has an output of kind "replay"; what cannot be had any more is told: `on_gap` is called with a
    `Gap`, or without it, the `Gap` is raised in the place of what is missing, and receiving can go on.

        with Subscriber("tcp://127.0.0.1:5560", topics=["shop/all_tables/orders/"]) as subscriber:
            for change in subscriber:
                ...
    """

    def __init__(  # noqa: PLR0913 - what a user may say of a consumer
        self,
        endpoints: str | Sequence[str],
        topics: str | Sequence[str] = ("",),
        *,
        kind: Literal["pub", "feed"] = "pub",
        replay: str | Sequence[str] = (),
        start: Cursor | Timestamp | str = "now",
        order: Literal["key", "transaction"] = "key",
        whole: bool = False,
        ticks: str | Sequence[str] = (),
        on_gap: Callable[[Gap], None] | None = None,
        on_dead_letter: Callable[[dict[str, Any]], None] | None = None,
        receive_high_water_mark: int = 10_000,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        """Connect. ConfigError for an endpoint that cannot be one, or a start that is not one.

        `topics`: beginnings of topics; "" takes all. `kind`: of the outputs that are bound at `endpoints`.
        `replay`: where outputs of kind "replay" are; without it, ticks tell.
        `start`: "now" for what is newer than all that was sent before it joins; a timestamp for what was
        changed after it; a cursor, or its text, to go on from it. `order`: "key" hands changes over as they
        come, in order per key;
        "transaction" whole transactions in commit order, which takes until the watermark has passed them;
        `most_bytes` bounds what waits for it (HeldBackError). `whole`: all topics of one output are followed
        that leaves out no table, row or kind of change; then records are counted, and a transaction that
        lacks some is `Transaction.torn`, and logged.
        `ticks`: where the relay's ticks are, such as "shop/all_tables/_tick/", if its topics do not begin
        with database and stream. `receive_high_water_mark`: of `pub`, messages that wait in the socket for
        a slow consumer, 0 for no bound; what comes beyond is lost, and repaired.
        `on_dead_letter`: called with each change of these topics that the relay could not decode, a dict
        of `version`, `table`, `reason` and `raw`; without it, a warning is logged.
        """
        super().__init__()
        self._endpoints = listed(endpoints)
        topics = [topics] if isinstance(topics, str) else list(topics)
        if not topics:
            raise ConfigError('topics: needs at least one; "" takes all')
        if receive_high_water_mark < 0:
            raise ConfigError(f"receive_high_water_mark: must be 0 or more, is {receive_high_water_mark}")
        self._on_gap = on_gap
        self._on_dead_letter = on_dead_letter or letters.warn
        named = [ticks] if isinstance(ticks, str) else list(ticks)
        # Named ticks say where database and stream are; the topics then do not.
        beside = [f"{one.removesuffix(TICK_LEVEL)}{DEAD_LEVEL}" for one in named if one.endswith(TICK_LEVEL)]
        dead = side_topics(topics + beside, DEAD_LEVEL) if not named else beside
        self._start = _started(start)
        self._order: TransactionOrder | None = None
        if order == "transaction":
            reached = Reached() if self._start is None else _least(self._start)
            self._order = TransactionOrder(
                watermark=reached.watermark, last=reached.last, whole=whole, most_bytes=most_bytes
            )
        elif order != "key":
            raise ConfigError(f'order: must be "key" or "transaction", is "{order}"')
        elif whole:
            raise ConfigError('whole: goes with order="transaction" only')
        asked = [replay] if isinstance(replay, str) else list(replay)
        self._inbox = Inbox(
            topics, dead, start=self._start, can_ask=bool(asked), endpoints=len(self._endpoints)
        )
        self._live: Live
        if kind == "pub":
            every = [*topics, *dead, *(named or side_topics(topics, TICK_LEVEL))]
            self._live = Pub(self._endpoints, every, receive_high_water_mark)
        elif kind == "feed":
            self._live = Feed(self._endpoints, [*topics, *dead])
        else:
            raise ConfigError(f'kind: must be "pub" or "feed", is "{kind}"')
        try:
            stream = b"" if self._start is None else self._start.stream
            self._asking = Asking(asked, self._endpoints, [*topics, *dead], stream)
        except BaseException:
            self._live.close()
            raise
        self._closed = False
        self._ticked_at = time.monotonic()
        self._said_stale = False
        self._heard = False
        self._said_held_back = False
        self._said_torn = False
        self._looked_at = 0.0
        self._batch: list[Change] = []
        self._released: deque[Transaction] = deque()

    @property
    def watermark(self) -> Timestamp | None:
        """All changes up to here were handed over, or their loss was told; it never goes back.

        Of an iteration, a change counts as handed over once the loop has it. To be read where changes
        are received, by the same thread or task.
        """
        if self._order is not None:
            return self._order.watermark if not (self._ready or self._released) else self._passed_before
        self._settle()
        return self._inbox.watermark

    @property
    def cursor(self) -> str:
        """Where to go on: after what was handed over so far, also in the middle of an iteration.

        Stored in the transaction that applies the changes, it makes their effect exactly once. Of an
        iteration, a change counts as handed over once the loop has it.
        """
        given = self._batch[: len(self._batch) - len(self._ready)]
        stream = self._asking.stream
        if self._order is not None:
            return Cursor({output: self._ordered(given) for output in self._outputs()}, stream).encode()
        self._settle()
        reached = self._inbox.reached(given if self._ready else None)
        if self._start is not None and not reached:
            return self._start.encode()
        return Cursor(reached, stream).encode()

    @property
    def waiting(self) -> Waiting | None:
        """With order="transaction": what is held back, since when and by which partition."""
        return None if self._order is None else self._order.waiting

    @property
    def blocked_by(self) -> str | None:
        """Why nothing goes on, or the watermark stands still, in words; None where nothing is known."""
        return self._inbox.blocked_by

    @property
    def heard(self) -> bool:
        """Whether any tick has come yet: a relay is there, or was."""
        return self._heard

    @property
    def stale(self) -> bool:
        """Whether no tick has come for three intervals: no relay is there, or no way to it."""
        return time.monotonic() - self._ticked_at > _STALE_TICKS * self._inbox.interval_s

    def wait_joined(self, timeout: float | None = None) -> bool:
        """Wait until every endpoint has ticked: from then on, whatever is sent is handed over, or told.

        False when `timeout` seconds have passed. Changes that come meanwhile are kept.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while self._inbox.baselines < len(self._endpoints):
            left = left_until(deadline)
            if poll(self._sockets(), min(left, self._patience())):
                self._take_messages()
            elif left <= 0:
                return False
            self._look_around()
        return True

    def transactions(self, timeout: float | None = None) -> Iterator[Transaction]:
        """With order="transaction": whole ones, in commit order. Ends when none comes within `timeout` s.

        Where an iteration over changes was left in the middle of one, its rest comes first.
        """
        if self._order is None:
            raise ConfigError('transactions() needs order="transaction"')
        if self._ready:  # an iteration was left in the middle of one
            rest = list(self._ready)
            self._ready.clear()
            of = rest[0]
            yield Transaction(of.commit_timestamp, of.transaction, of.transaction_tag, rest)
        while self._released or self._wait_for(self._release, timeout):
            transaction = self._released.popleft()
            self._batch = transaction.changes
            yield transaction

    def messages(self, timeout: float | None = None) -> Iterator[Message]:
        """Whole messages instead of their changes: for who routes, counts or audits.

        Of kind "changes" or "deadLetter", with gaps told as ever; a change that was sent
        twice may be in both messages. Ends when none comes within `timeout` seconds.
        """
        while (found := self._wait_for(self._next_message, timeout)) is not None:
            output, message = found
            if message.kind != "changes" or self._inbox.fresh(output, message):
                yield message

    def close(self) -> None:
        """Close the sockets. What has not been handed over is dropped, and the watermark stays before it."""
        self._settle()
        self._inbox.clear()
        self._live.close()
        self._asking.close()
        self._closed = True
        super().close()

    def _sockets(self) -> list[zmq.Socket[bytes]]:
        if self._closed:
            raise ClosedError("the subscriber is closed")
        live = [] if self._inbox.is_full else self._live.sockets
        return [*live, *self._asking.sockets] or self._live.sockets

    def _settle(self) -> None:
        if not self._ready:
            self._inbox.settle()

    def _patience(self) -> float:
        return min(0.25, _STALE_TICKS * self._inbox.interval_s)

    def _look_around(self) -> None:
        """Ask for what is wanted. Silence is logged once; ZeroMQ goes on trying to connect."""
        now = time.monotonic()
        for output, follower in self._inbox.followers.items():
            self._asking.ask(output, follower, now)
        self._say_stale()
        if now - self._looked_at < _LOOK_S:
            return
        self._looked_at = now
        self._inbox.time(now)
        self._live.look_around(now)
        self._asking.look_around(now)
        self._say_held_back(now)

    def _say_stale(self) -> None:
        if self.stale == self._said_stale:
            return
        self._said_stale = not self._said_stale
        if self._said_stale:
            _log.warning("no relay is heard on %s: changes may be late", ", ".join(self._endpoints))
        else:
            _log.info("the relay is heard again on %s", ", ".join(self._endpoints))

    def _say_held_back(self, now: float) -> None:
        waiting = self.waiting
        held_back = waiting is not None and now - waiting.since > _HELD_BACK_S
        if held_back and not self._said_held_back and waiting is not None:
            _log.warning(
                "held back until their transactions are complete: %s from %s on, by partition %s",
                counted(waiting.changes, "change"),
                waiting.oldest,
                waiting.partition or "not known yet",
            )
        self._said_held_back = held_back

    def _take_messages(self) -> None:
        now = time.monotonic()
        self._asking.take(now)
        if self._inbox.is_full:
            return
        for frames in self._live.take():
            if (relays := self._inbox.take(frames, now)) is not None:
                self._ticked_at, self._heard = now, True
                self._asking.learn(relays)
                self._inbox.can_ask = self._inbox.can_ask or self._asking.can_ask

    def _next(self) -> list[Change] | None:
        self._batch = []
        if self._order is not None:
            if not (self._released or self._release()):
                return None
            self._batch = self._released.popleft().changes
            return list(self._batch)
        while (found := self._next_message()) is not None:
            output, message = found
            if message.kind == "deadLetter":
                self._on_dead_letter(message.dead_letter())
            elif fresh := self._inbox.fresh(output, message):
                self._batch = fresh
                return list(fresh)
        return None

    def _next_message(self) -> tuple[int, Message] | None:
        self._settle()
        while (found := self._inbox.next()) is not None:
            output, item = found
            if not isinstance(item, Gap):
                return output, item
            if self._on_gap is None:
                raise item
            self._on_gap(item)
        return None

    # ------------------------------------------------------------- whole transactions

    _passed_before: Timestamp | None = None
    """The order's watermark before what waits to be handed over was released."""

    def _release(self) -> deque[Transaction] | None:
        """Release what is complete by now; None where there is nothing."""
        order, now = self._order, time.monotonic()
        assert order is not None
        self._batch = []
        self._passed_before = order.watermark
        while (found := self._next_message()) is not None:
            output, message = found
            if message.kind == "deadLetter":
                self._on_dead_letter(message.dead_letter())
            else:
                order.push(self._inbox.fresh(output, message), now, message.size)
        self._settle()
        held_by = next((one.held_by for one in self._inbox.followers.values()), None)
        self._released.extend(
            order.advance(self._inbox.watermark, now, None if held_by is None else held_by.hex())
        )
        self._say_torn()
        return self._released or None

    def _say_torn(self) -> None:
        """Once: where something is left out after all, nearly every transaction is torn."""
        torn = None if self._said_torn else next((one for one in self._released if one.torn), None)
        if torn is not None:
            self._said_torn = True
            _log.warning(
                "transaction %s of %s has other than the %d records that Spanner counted: some are lost, "
                "among the dead letters, or left out by the output (then follow it without whole=True)",
                torn.id,
                torn.commit_timestamp,
                torn.changes[0].number_of_records_in_transaction,
            )

    def _ordered(self, given: Sequence[Change]) -> Reached:
        assert self._order is not None
        if not (self._ready or self._released):
            if self._start is not None and self._order.watermark == _least(self._start).watermark:
                return _least(self._start)
            return Reached(self._order.watermark)
        if given:
            return Reached.up_to(given[-1].version)
        return Reached(self._passed_before)

    def _outputs(self) -> list[int]:
        started = {} if self._start is None else self._start.outputs
        return sorted({*self._inbox.followers, *started}) or [0]


def _started(start: Cursor | Timestamp | str) -> Cursor | None:
    if isinstance(start, Cursor):
        return start
    if start == "now":
        return None
    if isinstance(start, str) and timestamp_problem(start):
        try:
            return Cursor.decode(start)
        except (ConfigError, FormatError) as error:
            raise ConfigError(f'start: must be "now", a timestamp or a cursor: {error}') from None
    at = start if isinstance(start, Timestamp) else Timestamp.parse(start)
    if problem := start_problem(str(at), ("now",)):
        raise ConfigError(f"start: {problem}")
    return Cursor.at(at)


def _least(cursor: Cursor) -> Reached:
    """Of transactions there is one order for all outputs: the one that is behind counts."""
    reached = list(cursor.outputs.values())
    return min(reached, key=lambda one: (str(one.watermark or ""), one.last is not None), default=Reached())
