"""The exchanges that peers have begun and what may happen in them. Pure: no I/O, no clock, no threads.

A peer is whoever is behind one connection. It names its exchanges by ids that rise. In each the relay
sends message bytes up to the credit that the peer gave, and ends it with done or refused. Whatever a peer
does wrong is answered to it alone, with a typed refusal, and counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from spanwire._core import decode_request
from spanwire.errors import FormatError

MAX_REQUEST_BYTES = 64 << 10
REASONS = (
    *(
        "malformed",
        "unknownKind",
        "unknownOutput",
        "unknownTopic",
        "gone",
        "future",
        "otherStream",
        "tooMany",
    ),
    *("busy", "neverSent", "outOfOrder", "tooLarge", "failed", "stopping", "notMember"),
)
"""Of a refusal, as in Reply.Reason of envelope.capnp."""


@dataclass(frozen=True)
class Limits:
    """What peers may take of a relay."""

    peers: int = 64
    """Peers with something open at a time; more are refused."""
    exchanges_per_peer: int = 64
    """Exchanges that one peer may have open."""
    silence_s: float = 30.0
    """A peer that says nothing for so long is forgotten, with its exchanges."""
    credit_s: float = 30.0
    """An exchange that has something to send, and for so long no credit for it, is refused."""


@dataclass(eq=False)
class Exchange:
    """One exchange of one peer."""

    peer: bytes
    id: int
    request: dict[str, Any]
    """What began it: the fields of the Request."""
    credit: int
    """Message bytes that the peer takes, from the beginning; it only rises."""
    sent: int = 0
    """Message bytes that were sent."""
    over: bool = False
    """Nothing more may be sent in it."""
    blocked_since: float | None = None
    """Since when there is something to send and no credit."""

    @property
    def has_credit(self) -> bool:
        """Whether a message may be sent. The last one may go past it: one can be larger than a window."""
        return self.sent < self.credit


@dataclass(frozen=True)
class Answer:
    """A reply to a peer that needs nobody else."""

    peer: bytes
    kind: str
    id: int
    fields: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Begun:
    """An exchange began: somebody has to serve it."""

    exchange: Exchange


@dataclass(frozen=True)
class Stopped:
    """An exchange is over, by no word of who serves it."""

    exchange: Exchange


Event = Answer | Begun | Stopped


@dataclass
class _Peer:
    heard_at: float
    last_id: int = 0
    exchanges: dict[int, Exchange] = field(default_factory=dict)


class Exchanges:
    """All exchanges at one endpoint."""

    def __init__(self, kinds: Collection[str], stream: bytes, limits: Limits | None = None) -> None:
        """`kinds`: of requests that begin an exchange here. `stream`: as `Request.stream`."""
        self._kinds = frozenset(kinds)
        self._stream = stream
        self._limits = limits or Limits()
        self._peers: dict[bytes, _Peer] = {}
        self.refused: Counter[str] = Counter()
        """Refusals, by reason."""
        self.begun: Counter[str] = Counter(dict.fromkeys(kinds, 0))
        """Exchanges begun, by kind."""

    @property
    def peers(self) -> int:
        """Peers that are known."""
        return len(self._peers)

    def open(self) -> list[Exchange]:
        """The exchanges that are not over."""
        return [one for peer in self._peers.values() for one in peer.exchanges.values()]

    def take(self, peer: bytes, frames: Sequence[bytes], now: float) -> list[Event]:
        """A peer has sent these frames."""
        size = sum(map(len, frames))
        if size > MAX_REQUEST_BYTES:
            text = f"a request has {MAX_REQUEST_BYTES} bytes at the most, this one has {size}"
            return [self._refuse(peer, 0, "tooLarge", text)]
        if len(frames) != 1:
            return [self._refuse(peer, 0, "malformed", f"a request is one frame, this one has {len(frames)}")]
        try:
            request = decode_request(frames[0])
        except (FormatError, ValueError) as error:
            return [self._refuse(peer, 0, "malformed", str(error))]
        known = self._peers.get(peer)
        if known is None:
            if len(self._peers) >= self._limits.peers and not self._make_room():
                text = f"{self._limits.peers} peers are connected, the most that are allowed here; try later"
                return [self._refuse(peer, request["id"], "tooMany", text)]
            known = self._peers[peer] = _Peer(now)
        known.heard_at = now
        return self._obey(peer, known, request)

    def end(self, exchange: Exchange, reason: str | None = None) -> None:
        """It is over, by who serves it: done, or refused for a reason."""
        exchange.over = True
        if reason is not None:
            self.refused[reason] += 1
        known = self._peers.get(exchange.peer)
        if known is not None and known.exchanges.get(exchange.id) is exchange:
            del known.exchanges[exchange.id]

    def forget(self, peer: bytes) -> list[Event]:
        """A peer's connection is gone."""
        known = self._peers.pop(peer, None)
        exchanges = [] if known is None else list(known.exchanges.values())
        for one in exchanges:
            one.over = True
        return [Stopped(one) for one in exchanges]

    def give_up(self, peer: bytes, text: str) -> list[Event]:
        """Forget a peer that may be there all the same, so it is told."""
        known = self._peers.get(peer)
        told = [] if known is None else [self._refuse(peer, id, "busy", text) for id in known.exchanges]
        return [*told, *self.forget(peer)]

    def expire(self, now: float) -> list[Event]:
        """Drop who fell silent, and exchanges that hold something for a peer that takes nothing."""
        events: list[Event] = []
        for peer, known in list(self._peers.items()):
            if now - known.heard_at >= self._limits.silence_s:
                text = f"nothing was heard for {self._limits.silence_s:.0f} s; ask again"
                events += self.give_up(peer, text)
                continue
            for one in list(known.exchanges.values()):
                if one.blocked_since is not None and now - one.blocked_since >= self._limits.credit_s:
                    text = f"no credit for {self._limits.credit_s:.0f} s; ask again from where you are"
                    events += self._break_off(peer, known, one.id, "busy", text)
        return events

    def _make_room(self) -> bool:
        """Forget who said nothing for longest of the peers that wait for nothing: they lose nothing by it.

        Who comes again and again over new connections would otherwise keep all others out.
        """
        idle = [peer for peer, known in self._peers.items() if not known.exchanges]
        if idle:
            del self._peers[min(idle, key=lambda peer: self._peers[peer].heard_at)]
        return bool(idle)

    def _obey(self, peer: bytes, known: _Peer, request: dict[str, Any]) -> list[Event]:
        kind, id = request["kind"], request["id"]
        if kind == "ping":
            return [Answer(peer, "pong", id)]
        if kind in ("credit", "cancel"):
            return self._go_on(peer, known, request)
        if kind != "hello" and kind not in self._kinds:
            text = f"{kind} is not served here; this endpoint takes {', '.join(sorted(self._kinds))}"
            return [self._refuse(peer, id, "unknownKind", text)]
        if id <= known.last_id:
            text = f"ids of exchanges rise: {id} does not follow {known.last_id}"
            return self._break_off(peer, known, id, "outOfOrder", text)
        known.last_id = id
        if request["stream"] not in (b"", self._stream):
            text = "this relay reads another stream than the one that was asked for"
            return [self._refuse(peer, id, "otherStream", text)]
        if kind == "hello":
            return [Answer(peer, "welcome", id, {"stream": self._stream})]
        if len(known.exchanges) >= self._limits.exchanges_per_peer:
            text = f"{self._limits.exchanges_per_peer} exchanges are open, the most that one peer may have"
            return [self._refuse(peer, id, "tooMany", text)]
        exchange = known.exchanges[id] = Exchange(peer, id, request, request["credit"])
        self.begun[kind] += 1
        return [Begun(exchange)]

    def _go_on(self, peer: bytes, known: _Peer, request: dict[str, Any]) -> list[Event]:
        id = request["id"]
        exchange = known.exchanges.get(id)
        if exchange is None:
            if id <= known.last_id:
                return []  # it crossed with the end of the exchange
            return [self._refuse(peer, id, "neverSent", f"no exchange {id} was begun")]
        if request["kind"] == "cancel":
            self.end(exchange)
            return [Stopped(exchange)]
        if request["credit"] < exchange.credit:
            text = f"credit only rises: {request['credit']} is less than {exchange.credit}"
            return self._break_off(peer, known, id, "outOfOrder", text)
        exchange.credit = request["credit"]
        return []

    def _break_off(self, peer: bytes, known: _Peer, id: int, reason: str, text: str) -> list[Event]:
        """Refuse, and end the exchange of that id where there is one: its peer takes it for over."""
        events: list[Event] = [self._refuse(peer, id, reason, text)]
        if (exchange := known.exchanges.get(id)) is not None:
            self.end(exchange)
            events.append(Stopped(exchange))
        return events

    def _refuse(self, peer: bytes, id: int, reason: str, text: str) -> Answer:
        self.refused[reason] += 1
        return Answer(peer, "refused", id, {"reason": reason, "text": text})
