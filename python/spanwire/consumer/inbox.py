"""From the frames of messages to what is handed over. No I/O: the sync and the asyncio way share it."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

from spanwire._core import Change, Message, Timestamp, Window
from spanwire.consumer.cursor import Cursor
from spanwire.consumer.facts import Relay, Tick
from spanwire.consumer.follower import Follower
from spanwire.consumer.letters import concerns
from spanwire.consumer.reached import Frontier, Lane, Reached
from spanwire.errors import Gap

_log = logging.getLogger("spanwire.consumer")
Item = Message | Gap


class Inbox:
    """What has arrived and has not been handed over yet, by output.

    Outputs may choose different changes of one topic and partition, and number their messages by
    themselves: nothing is shared between them.
    """

    def __init__(
        self,
        topics: Sequence[str],
        dead: Sequence[str] = (),
        *,
        start: Cursor | None = None,
        can_ask: bool = False,
        endpoints: int | None = None,
    ) -> None:
        """`topics`: those followed. `dead`: where the dead letters beside them are."""
        self._topics = tuple(topics)
        self._followed = [*topics, *dead]
        self._start = start
        self._endpoints = endpoints
        self.can_ask = can_ask
        self.followers: dict[int, Follower] = {}
        self._said_clashes: set[tuple[int, bytes]] = set()
        self._watermark: Timestamp | None = None if start is None else start.watermark
        self._given: tuple[int, Lane, Frontier | None] | None = None
        self.interval_s = 1.0
        """Between two ticks, as the relay last said."""

    @property
    def baselines(self) -> int:
        """Senders that are known: whatever they lose is noticed."""
        return sum(follower.baselines for follower in self.followers.values() if follower.joined)

    @property
    def watermark(self) -> Timestamp | None:
        """All changes up to here were handed over, or their loss was; it never goes back.

        Also when an output joins that is behind.
        """
        least = [follower.watermark for follower in self.followers.values()]
        known = [one for one in least if one is not None]
        if known and len(known) == len(least) and (self._watermark is None or min(known) > self._watermark):
            self._watermark = min(known)
        return self._watermark

    @property
    def blocked_by(self) -> str | None:
        """Why nothing goes on, or the watermark stands still."""
        for follower in self.followers.values():
            if (why := follower.blocked_by) is not None:
                return why
        return None

    @property
    def is_full(self) -> bool:
        """Answers have to come first: more live messages would only pile up."""
        return any(
            follower.bytes_held > follower.most_bytes // 2 and follower.waits_for_answer
            for follower in self.followers.values()
        )

    def take(self, frames: list[bytes], now: float) -> list[Relay] | None:
        """Take one live message; of a tick the relays that it tells. FormatError where it is not ours."""
        message = Message.decode(frames)
        if message.kind == "tick":
            body = message.tick()
            self.interval_s = body["interval_ms"] / 1000
            tick = Tick.of(message, body)
            self._of(message.output).tick(tick, now)
            self._tell_clashes()
            return list(tick.relays)
        if message.kind in ("changes", "deadLetter"):
            self._of(message.output).message(message, now, sum(map(len, frames)))
        return None

    def next(self) -> tuple[int, Item] | None:
        """The next message or gap, and its output; None where there is none."""
        for output, follower in self.followers.items():
            while (item := follower.next()) is not None:
                if isinstance(item, Gap):
                    item.fields["output"] = output
                    return output, item
                if item.kind != "deadLetter" or self._concerns(output, item):
                    return output, item
        return None

    def time(self, now: float) -> None:
        """Let time pass."""
        for follower in self.followers.values():
            follower.time(now)

    def settle(self) -> None:
        """Raise the watermark: all that `next` gave was handed over."""
        for follower in self.followers.values():
            follower.settle()

    def clear(self) -> None:
        """Drop what waits. The watermark stays where it is."""
        for follower in self.followers.values():
            follower.clear()

    def fresh(self, output: int, message: Message) -> list[Change]:
        """Its changes that were not handed over before; they count as handed over now."""
        follower, lane = self.followers[output], (message.partition, message.topic)
        self._given = (output, lane, follower.window(*lane).state())
        return follower.fresh(message)

    def reached(self, given: Sequence[Change] | None = None) -> dict[int, Reached]:
        """By output, what was handed over; of the last message no more than `given`, None for all."""
        reached = {output: follower.reached() for output, follower in self.followers.items()}
        if given is not None and self._given is not None:
            output, lane, state = self._given
            window = Window() if state is None else Window.restore(state)
            window.admit(list(given))
            frontiers = dict(reached[output].frontiers)
            frontiers.pop(lane, None)
            if (partly := window.state()) is not None and partly[1]:
                frontiers[lane] = partly
            reached[output] = Reached(reached[output].watermark, frontiers)
        return reached

    def _of(self, output: int) -> Follower:
        follower = self.followers.get(output)
        if follower is None:
            start = None if self._start is None else self._start.of(output)
            follower = self.followers[output] = Follower(
                self._followed, start=start, can_ask=self.can_ask, endpoints=self._endpoints
            )
        return follower

    def _concerns(self, output: int, message: Message) -> bool:
        """Whether a dead letter is new, and of a table that somebody here follows: all share a topic."""
        window = self.followers[output].window(message.partition, message.topic)
        if message.first is not None and message.first.sequence and not window.admit_version(message.first):
            return False
        return concerns(message.topic, message.dead_letter()["table"], self._topics)

    def _tell_clashes(self) -> None:
        """Log once where epochs did not rise: such a process cannot be told from one out of date."""
        for partition, epoch in self._clashes():
            _log.warning(
                "two relay processes own partition %s under epoch %d: losses of the later one are not "
                "told and the watermark stays behind; epochs must rise, across restarts too",
                partition.hex(),
                epoch,
            )

    def _clashes(self) -> Iterator[tuple[bytes, int]]:
        for output, follower in self.followers.items():
            for partition, epoch in follower.clashes.items():
                if (output, partition) not in self._said_clashes:
                    self._said_clashes.add((output, partition))
                    yield partition, epoch
