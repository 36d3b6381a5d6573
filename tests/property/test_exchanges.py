"""The exchanges at an endpoint, walked at random: whatever peers send, the promises hold."""

from __future__ import annotations

import random
from typing import Any

import pytest

from spanwire._core import encode_request
from spanwire.router import Exchange, Exchanges, Limits
from spanwire.router.exchanges import MAX_REQUEST_BYTES, Answer, Begun, Stopped

STREAM = b"s" * 16
LIMITS = Limits(peers=3, exchanges_per_peer=4, silence_s=30, credit_s=20)
KINDS = ("repair", "heads", "replay")


class Walk:
    """Peers that do as they please, and what must hold after every step."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.exchanges = Exchanges(KINDS, STREAM, LIMITS)
        self.now = 0.0
        self.heard: dict[bytes, float] = {}
        self.open: dict[tuple[bytes, int], Exchange] = {}
        self.newest = 0
        self.refused = 0

    def step(self) -> None:
        """One thing happens."""
        self.now += self.rng.choice([0, 0, 0.1, 1, 9])
        peer = self.rng.choice([b"a", b"b", b"c", b"d", b"e"])
        act = self.rng.choice([self.request, self.request, self.request, self.send, self.look, self.leave])
        act(peer)
        self.check()

    def request(self, peer: bytes) -> None:
        """A peer sends something, right or wrong."""
        rng = self.rng
        kind = rng.choice([*KINDS, "hello", "ping", "credit", "credit", "cancel", "ack", "feed"])
        self.newest += rng.random() < 0.7
        id = rng.choice(
            [self.newest, self.newest, self.newest, rng.randrange(self.newest + 1), self.newest + 3]
        )
        id = 2**64 - 1 if rng.random() < 0.002 else id
        frame = encode_request(
            kind, id, credit=rng.choice([0, 10, 1000]), stream=rng.choice([b"", b"", STREAM, b"o" * 16])
        )
        frames = rng.choice(
            [[frame], [frame], [frame], [frame, b""], [], [b"junk"], [b"x" * (MAX_REQUEST_BYTES + 1)]]
        )
        before = {key: one.credit for key, one in self.open.items()}
        events = self.exchanges.take(peer, frames, self.now)
        if frames == [frame] and (peer in self.heard or self.there_is_room()):
            self.heard[peer] = self.now
        self.take(events, {peer})
        for key, one in self.open.items():
            assert one.credit >= before.get(key, 0), "credit fell"

    def there_is_room(self) -> bool:
        """Whether one more peer is taken; the idle one that was silent for longest makes room."""
        idle = [peer for peer in self.heard if not any(key[0] == peer for key in self.open)]
        if len(self.heard) < LIMITS.peers:
            return True
        if idle:
            del self.heard[min(idle, key=lambda peer: self.heard[peer])]
        return bool(idle)

    def send(self, peer: bytes) -> None:
        """Whoever serves sends, waits for credit, or ends."""
        for key, one in list(self.open.items()):
            if key[0] != peer:
                continue
            if not one.has_credit:
                one.blocked_since = self.now if one.blocked_since is None else one.blocked_since
            elif self.rng.random() < 0.2:
                reason = self.rng.choice([None, "gone"])
                self.exchanges.end(one, reason)
                self.refused += reason is not None
                del self.open[key]
            else:
                one.sent += self.rng.randrange(1, 400)
                one.blocked_since = None

    def look(self, _: bytes) -> None:
        """Time has passed."""
        silent = {peer for peer, at in self.heard.items() if self.now - at >= LIMITS.silence_s}
        starved = {
            key
            for key, one in self.open.items()
            if one.blocked_since is not None and self.now - one.blocked_since >= LIMITS.credit_s
        }
        dropped = starved | {key for key in self.open if key[0] in silent}
        events = self.exchanges.expire(self.now)
        assert {(one.exchange.peer, one.exchange.id) for one in events if isinstance(one, Stopped)} == dropped
        told = {(one.peer, one.id) for one in events if isinstance(one, Answer)}
        assert told == dropped, "who loses an exchange is told"
        self.take(events, {key[0] for key in dropped})
        for peer in silent:
            del self.heard[peer]

    def leave(self, peer: bytes) -> None:
        """A connection breaks."""
        if self.rng.random() < 0.3:
            self.take(self.exchanges.forget(peer), {peer})
            self.heard.pop(peer, None)

    def take(self, events: list[Any], concerns: set[bytes]) -> None:
        """What came of it concerns nobody else."""
        for event in events:
            if isinstance(event, Answer):
                assert event.peer in concerns
                assert event.kind in ("pong", "welcome", "refused")
                if event.kind == "refused":
                    self.refused += 1
                    assert event.fields["reason"] not in ("", "unspecified")
                    assert event.fields["text"]
            elif isinstance(event, Begun):
                one = event.exchange
                assert (one.peer, one.id) not in self.open
                self.open[one.peer, one.id] = one
            else:
                one = event.exchange
                assert one.over
                assert one.peer in concerns
                del self.open[one.peer, one.id]

    def check(self) -> None:
        """What always holds."""
        assert {(one.peer, one.id) for one in self.exchanges.open()} == set(self.open)
        assert not any(one.over for one in self.open.values())
        assert self.exchanges.peers == len(self.heard) <= LIMITS.peers
        assert sum(self.exchanges.refused.values()) == self.refused
        for peer in self.heard:
            assert sum(key[0] == peer for key in self.open) <= LIMITS.exchanges_per_peer


@pytest.mark.parametrize("seed", range(20))
def test_whatever_peers_send_the_promises_hold(seed: int) -> None:
    """An exchange begins and ends once; limits hold; refusals are typed, counted, and to their peer."""
    walk = Walk(seed)
    for _ in range(2500):
        walk.step()
    assert walk.exchanges.begun.total() > 20, "a walk that begins nothing shows nothing"
    assert walk.refused > 20


def test_each_kind_of_wrong_has_its_reason() -> None:
    """The reasons of the protocol, one by one."""
    exchanges = Exchanges(KINDS, STREAM, LIMITS)

    def answer(*frames: bytes, peer: bytes = b"a") -> list[tuple[str, str]]:
        events = exchanges.take(peer, frames, 0.0)
        return [(one.kind, one.fields.get("reason", "")) for one in events if isinstance(one, Answer)]

    assert answer(b"junk") == [("refused", "malformed")]
    assert answer(b"x", b"y") == [("refused", "malformed")]
    assert answer(b"x" * (MAX_REQUEST_BYTES + 1)) == [("refused", "tooLarge")]
    assert answer(encode_request("ack", 1)) == [("refused", "unknownKind")]
    assert answer(encode_request("hello", 1, stream=b"o" * 16)) == [("refused", "otherStream")]
    assert answer(encode_request("hello", 2, stream=STREAM)) == [("welcome", "")]
    assert answer(encode_request("replay", 2)) == [("refused", "outOfOrder")]
    assert answer(encode_request("credit", 3, credit=5)) == [("refused", "neverSent")]
    assert answer(encode_request("cancel", 3)) == [("refused", "neverSent")]
    assert answer(encode_request("replay", 3, credit=5)) == []
    assert answer(encode_request("credit", 3, credit=4)) == [("refused", "outOfOrder")]
    assert answer(encode_request("credit", 3, credit=6)) == []  # it crossed with the refusal
    for id in range(4, 8):
        assert answer(encode_request("replay", id)) == []
    assert answer(encode_request("replay", 8)) == [("refused", "tooMany")]
    for peer in (b"b", b"c"):
        assert answer(encode_request("replay", 1), peer=peer) == []
    assert answer(encode_request("ping", 0), peer=b"d") == [("refused", "tooMany")]
    assert answer(encode_request("cancel", 1), peer=b"c") == []
    assert answer(encode_request("ping", 0), peer=b"d") == [("pong", "")]  # an idle peer makes room
