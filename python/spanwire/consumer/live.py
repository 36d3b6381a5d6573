"""Where live messages come from: a SUB socket on `pub` outputs, or links to `feed` outputs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import zmq

from spanwire.consumer.link import Link
from spanwire.consumer.receiver import connected

_AT_ONCE = 64
_FEED_WINDOW = 8 << 20


class Live(Protocol):
    """A source of messages. Used by one thread."""

    @property
    def sockets(self) -> list[zmq.Socket[bytes]]:
        """To be polled."""

    def take(self) -> Iterator[list[bytes]]:
        """The frames of messages that have come, without waiting; not all of them at once."""

    def look_around(self, now: float) -> None:
        """Notice what silence tells."""

    def close(self) -> None:
        """Close all sockets."""


class Pub:
    """A SUB socket: what it does not take in time is lost, and noticed."""

    def __init__(self, endpoints: Sequence[str], topics: Sequence[str], high_water_mark: int) -> None:
        """Subscriptions travel in the order of `topics`: once a tick comes, those before it are in force."""
        self._socket = connected(zmq.SUB, endpoints, high_water_mark)
        for topic in topics:
            self._socket.setsockopt(zmq.SUBSCRIBE, topic.encode())

    @property
    def sockets(self) -> list[zmq.Socket[bytes]]:
        """The one."""
        return [self._socket]

    def take(self) -> Iterator[list[bytes]]:
        """What lies in the socket."""
        for _ in range(_AT_ONCE):
            try:
                yield self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return

    def look_around(self, now: float) -> None:
        """ZeroMQ connects anew by itself."""

    def close(self) -> None:
        """Close it."""
        self._socket.close()


class Feed:
    """Links to feeds: each relay sends no more than was taken, at this consumer's own pace."""

    def __init__(self, endpoints: Sequence[str], topics: Sequence[str]) -> None:
        self._topics = list(topics)
        self._links = [Link(endpoint, window_bytes=_FEED_WINDOW) for endpoint in endpoints]
        self._ids: dict[Link, int | None] = {link: self._begin(link) for link in self._links}
        self._again_at: dict[Link, float] = {}
        self.refused = ""
        """Why a relay does not feed this consumer, if one does not."""

    def _begin(self, link: Link) -> int:
        return link.ask("feed", topics=self._topics)

    @property
    def sockets(self) -> list[zmq.Socket[bytes]]:
        """One for each link."""
        return [link.socket for link in self._links]

    def take(self) -> Iterator[list[bytes]]:
        """What has come; taking it lets more come."""
        for link in self._links:
            for answer in link.take():
                if answer.frames is not None:
                    link.grant(answer.id, answer.size)
                    yield answer.frames
                elif answer.kind == "refused":
                    self.refused = f"{link.endpoint}: {answer.fields['text']}"
                    self._ids[link] = None

    def look_around(self, now: float) -> None:
        """Begin again what was lost with a connection; what was missed meanwhile is noticed."""
        for link in self._links:
            if self._ids[link] in link.look_around(now):
                self._ids[link] = self._begin(link)
            elif self._ids[link] is None and now >= self._again_at.setdefault(link, now + 1.0):
                del self._again_at[link]
                self._ids[link] = self._begin(link)

    def close(self) -> None:
        """Close all links."""
        for link in self._links:
            link.close()
