"""`Subscriber`: every change of the topics it follows, once, in order; what is lost is told."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import zmq

from spanwire._core import Change, Message, Timestamp
from spanwire.consumer import letters
from spanwire.consumer.facts import DEAD_LEVEL, TICK_LEVEL, side_topics
from spanwire.consumer.inbox import Inbox
from spanwire.consumer.receiver import Receiver, left_until
from spanwire.errors import Gap

_log = logging.getLogger("spanwire.consumer")  # a library: whoever uses it decides where it goes
_STALE_TICKS = 3
"""A relay that has not ticked for so many intervals is not there."""


class Subscriber(Receiver):
    """Follows `pub` outputs of relays. A context manager; iterable, sync and asyncio.

    Duplicates are dropped. When something was lost, `on_gap` is called with a `Gap`; without it,
    the `Gap` is raised in the place of what is missing, and receiving can go on after it.

        with Subscriber("tcp://127.0.0.1:5560", topics=["shop/all_tables/orders/"]) as subscriber:
            for change in subscriber:
                ...
    """

    def __init__(
        self,
        endpoints: str | Sequence[str],
        topics: str | Sequence[str] = ("",),
        *,
        ticks: str | Sequence[str] = (),
        on_gap: Callable[[Gap], None] | None = None,
        on_dead_letter: Callable[[dict[str, Any]], None] | None = None,
        receive_high_water_mark: int = 10_000,
    ) -> None:
        """Connect. ConfigError for an endpoint that cannot be one.

        `topics`: beginnings of topics; "" takes all. `ticks`: where the relay's ticks are, such as
        "shop/all_tables/_tick/", if its topics do not begin with database and stream.
        `receive_high_water_mark`: messages that wait in the socket for a slow consumer, 0 for no bound;
        what comes beyond is lost, and told.
        `on_dead_letter`: called with each change of these topics that the relay could not decode, a dict
        of `version`, `table`, `reason` and `raw`; without it, a warning is logged.
        """
        super().__init__(zmq.SUB, endpoints, receive_high_water_mark)
        topics = [topics] if isinstance(topics, str) else list(topics)
        self._on_gap = on_gap
        self._on_dead_letter = on_dead_letter or letters.warn
        named = [ticks] if isinstance(ticks, str) else list(ticks)
        # Named ticks say where database and stream are; the topics then do not.
        beside = [f"{one.removesuffix(TICK_LEVEL)}{DEAD_LEVEL}" for one in named if one.endswith(TICK_LEVEL)]
        dead = side_topics(topics + beside, DEAD_LEVEL) if not named else beside
        self._inbox = Inbox(topics, dead)
        self._ticked_at = time.monotonic()
        self._said_stale = False
        # Connected first and ticks last: subscriptions travel in this order, so once a tick arrives,
        # those before it are in force.
        self._connect()
        for topic in [*topics, *dead, *(named or side_topics(topics, TICK_LEVEL))]:
            self._socket.setsockopt(zmq.SUBSCRIBE, topic.encode())

    @property
    def watermark(self) -> Timestamp | None:
        """All changes up to here were handed over, or their loss was told; it never goes back.

        Of an iteration, a change counts as handed over once the loop has it. To be read where changes
        are received, by the same thread or task.
        """
        self._settle()
        return self._inbox.watermark

    @property
    def stale(self) -> bool:
        """Whether no tick has come for three intervals: no relay is there, or no way to it."""
        return time.monotonic() - self._ticked_at > _STALE_TICKS * self._inbox.interval_s

    def wait_joined(self, timeout: float | None = None) -> bool:
        """Wait until every endpoint has ticked: from then on, whatever is lost is told.

        False when `timeout` seconds have passed. Changes that come meanwhile are kept.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while self._inbox.baselines < len(self._endpoints):
            left = left_until(deadline)
            if self._open().poll(round(min(left, self._patience()) * 1000)):
                self._take_messages()
            elif left <= 0:
                return False
            self._look_around()
        return True

    def close(self) -> None:
        """Close the socket. What has not been handed over is dropped, and the watermark stays before it."""
        self._settle()
        self._inbox.clear()
        super().close()

    def _settle(self) -> None:
        if not self._ready:
            self._inbox.settle()

    def _patience(self) -> float:
        return _STALE_TICKS * self._inbox.interval_s

    def _look_around(self) -> None:
        """Silence is logged once; ZeroMQ goes on trying to connect."""
        if self.stale == self._said_stale:
            return
        self._said_stale = not self._said_stale
        if self._said_stale:
            _log.warning("no relay is heard on %s: changes may be late", ", ".join(self._endpoints))
        else:
            _log.info("the relay is heard again on %s", ", ".join(self._endpoints))

    def _take(self, frames: list[bytes]) -> None:
        if self._inbox.take(frames):
            self._ticked_at = time.monotonic()

    def messages(self, timeout: float | None = None) -> Iterator[Message]:
        """Whole messages instead of their changes: for who routes, counts or audits.

        Of kind "changes" or "deadLetter", each once, with gaps told as ever; a change that was sent
        twice is in both messages. Ends when none comes within `timeout` seconds.
        """
        while (message := self._wait_for(self._next_message, timeout)) is not None:
            yield message

    def _next(self) -> list[Change] | None:
        while (message := self._next_message()) is not None:
            if message.kind == "deadLetter":
                self._on_dead_letter(message.dead_letter())
            elif fresh := self._inbox.fresh(message):
                return fresh
        return None

    def _next_message(self) -> Message | None:
        self._settle()
        while isinstance(item := self._inbox.next(), Gap):
            if self._on_gap is None:
                raise item
            self._on_gap(item)
        return item
