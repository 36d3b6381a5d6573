"""Asks relays for what followers want: heads, repairs, replays; and gives them the answers."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterable, Sequence

import zmq

from spanwire._core import Message
from spanwire.consumer.asks import Ask, AskHeads, AskRepair
from spanwire.consumer.facts import Relay
from spanwire.consumer.follower import Follower
from spanwire.consumer.link import Answer, Link
from spanwire.errors import FormatError

_log = logging.getLogger("spanwire.consumer")
_EVERYWHERE = ("//0.0.0.0:", "//[::]:", "//*:")


class Asking:
    """Links to where relays answer: as given, or as their ticks tell. Used by one thread."""

    def __init__(
        self, given: Sequence[str], heard_at: Sequence[str], topics: Sequence[str], stream: bytes = b""
    ) -> None:
        """`heard_at`: endpoints of outputs, whose host stands in where a relay tells only "any"."""
        self._given = list(given)
        self._heard_at = list(heard_at)
        self._topics = [] if "" in topics else list(topics)
        self._told: dict[int, tuple[str, ...]] = {}
        self._links: dict[str, Link] = {}
        self._turn = itertools.count()
        self._open: dict[tuple[str, int], tuple[Follower, Ask]] = {}
        self._hellos: set[tuple[str, int]] = set()
        self._grants: list[tuple[Link, int, int, Follower]] = []
        self.stream = stream
        """Which change stream the relays answer for, once one has said so."""
        for endpoint in self._given:
            self._link(endpoint)

    @property
    def can_ask(self) -> bool:
        """Whether somebody is known who answers."""
        return bool(self._given or self._told)

    @property
    def sockets(self) -> list[zmq.Socket[bytes]]:
        """To be polled."""
        return [link.socket for link in self._links.values()]

    def learn(self, relays: Iterable[Relay]) -> None:
        """Take where relays say that they answer."""
        for relay in relays:
            if relay.replay and not self._given:
                self._told[relay.incarnation] = tuple(self._reachable(one) for one in relay.replay)
                while len(self._told) > 16:
                    del self._told[next(iter(self._told))]

    def ask(self, output: int, follower: Follower, now: float) -> None:
        """Send what a follower wants."""
        self._grant()
        follower.can_ask = self.can_ask
        for ask in follower.requests(now):
            if isinstance(ask, AskHeads):
                for endpoint in self._endpoints():
                    link = self._link(endpoint)
                    self._open[endpoint, link.ask("heads", output=output)] = (follower, ask)
                continue
            if isinstance(ask, AskRepair):
                endpoint = self._endpoint(ask.incarnation)
                id = self._link(endpoint).ask(
                    "repair",
                    output=output,
                    topics=[ask.topic],
                    incarnation=ask.incarnation,
                    partition=ask.partition,
                    epoch=ask.epoch,
                    first=ask.first,
                    last=ask.last,
                )
            else:
                endpoint = self._endpoint()
                id = self._link(endpoint).ask(
                    "replay",
                    output=output,
                    topics=self._topics,
                    after=ask.after,
                    until=ask.until,
                    stream=self.stream,
                )
            self._open[endpoint, id] = (follower, ask)

    def take(self, now: float) -> bool:
        """Give followers the answers that have come; whether there were any."""
        came = False
        for endpoint, link in self._links.items():
            for answer in link.take():
                came = True
                if (endpoint, answer.id) in self._hellos:
                    self._hellos.discard((endpoint, answer.id))
                    self.stream = self.stream or answer.fields["stream"]
                elif (opened := self._open.get((endpoint, answer.id))) is not None:
                    self._answer(link, answer, *opened, now)
        self._grant()
        return came

    def look_around(self, now: float) -> None:
        """Have what was lost be asked again."""
        for endpoint, link in self._links.items():
            for id in link.look_around(now):
                self._hellos.discard((endpoint, id))
                if (opened := self._open.pop((endpoint, id), None)) is not None:
                    follower, ask = opened
                    follower.lost(ask.id, now)
        self._grant()

    def close(self) -> None:
        """Close all links."""
        for link in self._links.values():
            link.close()

    def _answer(self, link: Link, answer: Answer, follower: Follower, ask: Ask, now: float) -> None:
        fields = answer.fields
        if answer.frames is not None:
            try:
                message = Message.decode(answer.frames)
            except FormatError as error:
                _log.warning("an answer of %s cannot be read: %s", link.endpoint, error)
                link.cancel(answer.id)
                del self._open[link.endpoint, answer.id]
                follower.refused(ask.id, "failed", now=now)
                return
            follower.repaired(ask.id, message, answer.size)
            self._grants.append((link, answer.id, answer.size, follower))
        elif answer.kind == "progress" and fields["position"] is not None:
            follower.progress(ask.id, fields["position"])
        elif answer.kind == "done":
            del self._open[link.endpoint, answer.id]
            follower.done(ask.id, now)
        elif answer.kind == "refused":
            del self._open[link.endpoint, answer.id]
            text = f"{link.endpoint}: {fields['text']}"
            follower.refused(ask.id, fields["reason"], fields["oldest"], text, now)

    def _grant(self) -> None:
        """Let relays send more once what came was handed on.

        Also to a follower that holds much and waits for an answer: what it holds stands behind that.
        """
        later = []
        for link, id, size, follower in self._grants:
            if follower.bytes_held <= follower.most_bytes // 2 or follower.waits_for_answer:
                link.grant(id, size)
            else:
                later.append((link, id, size, follower))
        self._grants = later

    def _endpoints(self) -> list[str]:
        told = [endpoint for endpoints in self._told.values() for endpoint in endpoints]
        return self._given or list(dict.fromkeys(told))

    def _endpoint(self, incarnation: int | None = None) -> str:
        """Where a process answers; else, in turn, any that does. The last that was told is the likeliest."""
        if incarnation in self._told and not self._given:
            return self._told[incarnation][0]
        endpoints = self._endpoints()[::-1]
        return endpoints[next(self._turn) % len(endpoints)]

    def _link(self, endpoint: str) -> Link:
        link = self._links.get(endpoint)
        if link is None:
            link = self._links[endpoint] = Link(endpoint)
            self._hellos.add((endpoint, link.ask("hello")))
        return link

    def _reachable(self, endpoint: str) -> str:
        for everywhere in _EVERYWHERE:
            if everywhere in endpoint:
                for heard in self._heard_at:
                    if heard.startswith("tcp://"):
                        host = heard.removeprefix("tcp://").rsplit(":", 1)[0]
                        return endpoint.replace(everywhere, f"//{host}:")
        return endpoint
