"""A bounded re-read of the whole stream from Spanner, as a replay does it: in key order, else in any."""

from __future__ import annotations

import random
from collections.abc import Iterator

from simulation.changes import Change, Message
from simulation.core import id_of
from simulation.spanner import Log, Record, Spanner


class Reread:
    """Changes in (after, until] of some topics, `until` in the past. Raises Expired where they are gone."""

    def __init__(
        self, spanner: Spanner, rng: random.Random, after: int, until: int, topics: tuple[str, ...]
    ) -> None:
        self.spanner, self.rng, self.after, self.until, self.topics = spanner, rng, after, until, topics
        self.incarnation = rng.randrange(1 << 40, 1 << 41)
        self.places: dict[str, int] = {}
        """Partitions being read, and the index of their next record."""
        self._done: set[str] = set()
        self._waiting: dict[str, tuple[str, ...]] = {}
        self._sequences: dict[tuple[str, str], int] = {}
        for token in spanner.initial(after):
            self._open(token)

    @property
    def over(self) -> bool:
        """All of it has been sent."""
        return not self.places and not self._waiting

    def progress(self) -> int:
        """All up to here has been sent."""
        ahead = [self._next_at(token) - 1 for token in self.places]
        ahead += [self.spanner.logs[token].start - 1 for token in self._waiting]
        return max(self.after, min([self.until, *ahead]))

    def step(self) -> list[Message]:
        """Read some of one partition."""
        self._open_children()
        readable = [token for token in self.places if not self._stands(token)]
        if not readable:
            return []
        token = self.rng.choice(readable)
        log, most = self.spanner.logs[token], self.rng.choice((1, 3, 10))
        changes: list[Change] = []
        while most and not self._stands(token) and (record := self._peek(log)) is not None:
            most -= 1
            self.places[token] += 1
            if record.kind == "data":
                if record.at > self.after:
                    changes += record.what
            else:
                self._meet(token, record)
                break
        if self._is_read(log):
            del self.places[token]
            self._done.add(token)
        return list(self._messages(token, changes))

    def _open(self, token: str) -> None:
        log = self.spanner.logs[token]
        start = max(self.after, log.start)
        self.spanner.check(start)
        self.places[token] = log.index_from(start)

    def _peek(self, log: Log) -> Record | None:
        place = self.places[log.token]
        record = log.records[place] if place < len(log.records) else None
        return None if record is None or record.at > self.until else record

    def _next_at(self, token: str) -> int:
        record = self._peek(self.spanner.logs[token])
        return self.until + 1 if record is None else record.at

    def _is_read(self, log: Log) -> bool:
        return self._peek(log) is None

    def _meet(self, token: str, record: Record) -> None:
        if record.kind == "children":
            self._waiting.update(record.what)
        elif record.kind == "start":
            for child in record.what:
                self._open(child)

    def _open_children(self) -> None:
        for token, parents in list(self._waiting.items()):
            if token in self._done or token in self.places:
                del self._waiting[token]
            elif self._done.issuperset(parents):  # one that is not known yet is not done either
                del self._waiting[token]
                self._open(token)

    def _stands(self, token: str) -> bool:
        """Keys moved into it: it waits until all others have passed that timestamp, or stand there, too."""
        record = self._peek(self.spanner.logs[token])
        if record is None or record.kind != "event" or not record.what:
            return False
        for other in self.places:
            ahead = self._peek(self.spanner.logs[other])
            if ahead is None or ahead.at > record.at:
                continue
            if ahead.at < record.at or ahead.kind != "event":
                return True
        return False

    def _messages(self, token: str, changes: list[Change]) -> Iterator[Message]:
        for topic in dict.fromkeys(change.topic for change in changes):
            if topic.startswith(self.topics):
                number = self._sequences.get((topic, token), 0)
                self._sequences[topic, token] = number + 1
                mine = [change for change in changes if change.topic == topic]
                yield Message((self.incarnation, topic, id_of(token), 1), number, 0, mine, 0)
