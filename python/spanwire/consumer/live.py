"""Where live messages come from: a SUB socket on `pub` outputs, or links to `feed` outputs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import zmq
from zmq.utils.monitor import recv_monitor_message

from spanwire.consumer.link import SILENCE_S, Link
from spanwire.consumer.receiver import connect, receiving
from spanwire.errors import ConfigError

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
        self._endpoints = list(endpoints)
        self._socket = receiving(zmq.SUB, high_water_mark)
        # ZeroMQ connects anew by itself, but not to a place where it met a socket of another kind.
        self._monitor = self._socket.get_monitor_socket(zmq.EVENT_DISCONNECTED | zmq.EVENT_CONNECT_RETRIED)
        self._given_up = self._heard = False
        self._quiet_since: float | None = None
        try:
            connect(self._socket, endpoints)
        except ConfigError:
            self._monitor.close(0)
            raise
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
                frames = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            self._heard = True
            yield frames

    def look_around(self, now: float) -> None:
        """Connect anew where ZeroMQ does not and nothing has come since."""
        while self._monitor.poll(0):
            self._given_up = recv_monitor_message(self._monitor)["event"] == zmq.EVENT_DISCONNECTED
        if not self._given_up or self._heard:
            self._heard, self._quiet_since = False, None
        elif self._quiet_since is None:
            self._quiet_since = now
        elif now - self._quiet_since >= SILENCE_S:
            self._given_up = False
            for endpoint in self._endpoints:
                self._socket.disconnect(endpoint)
            connect(self._socket, self._endpoints)

    def close(self) -> None:
        """Close it."""
        if not self._socket.closed:
            self._socket.disable_monitor()
            self._monitor.close(0)
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
