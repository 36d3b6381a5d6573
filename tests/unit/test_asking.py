"""What a consumer asks for, and how much of the answers it lets come."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from support.change_records import data_change, message

from spanwire._core import Output, Pipeline, Timestamp
from spanwire.consumer import asking
from spanwire.consumer.asking import Asking
from spanwire.consumer.asks import AskReplay
from spanwire.consumer.follower import Follower
from spanwire.consumer.link import Answer

START = Timestamp.parse("2026-11-23T00:00:00Z")


@dataclass
class FakeLink:
    """Answers with what it is given; notes what it may send more."""

    endpoint: str
    answers: list[Answer] = field(default_factory=list)
    granted: int = 0

    def ask(self, _: str, **__: Any) -> int:
        """All exchanges are one."""
        return 1

    def take(self) -> list[Answer]:
        """What has come."""
        answers, self.answers = self.answers, []
        return answers

    def grant(self, _: int, size: int) -> None:
        """So much was handed on."""
        self.granted += size


@dataclass
class FakeFollower:
    """Wants one replay, and holds much."""

    asks: list[AskReplay]
    waits_for_answer: bool
    bytes_held: int = 60
    most_bytes: int = 100
    can_ask: bool = False
    came: int = 0

    def requests(self, _: float) -> list[AskReplay]:
        """Once."""
        asks, self.asks = self.asks, []
        return asks

    def repaired(self, *_: Any) -> None:
        """A message."""
        self.came += 1


@pytest.fixture
def frames() -> Iterator[list[bytes]]:
    """Of one message."""
    with Pipeline("d", "s", [Output("ring", [])]) as pipeline:
        partition = pipeline.partition("token", dialect="googlesql", epoch=1, start=START)
        partition.push([message(data_change(str(START), [({"Id": "1"}, {}, {})]))])
        partition.finish()
        assert pipeline.drain(60)
        reader = pipeline.ring(0).reader(oldest=True)
        yield next(one for one in reader.read(60) if not one[0].endswith(b"_tick/"))


@pytest.mark.parametrize("waits", [True, False])
def test_an_answer_that_is_waited_for_may_come_however_much_is_held(
    waits: bool, frames: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is held stands behind it; what nobody waits for yet comes once less is held."""
    links: list[FakeLink] = []

    def link(endpoint: str) -> FakeLink:
        links.append(FakeLink(endpoint))
        return links[-1]

    monkeypatch.setattr(asking, "Link", link)
    follower = FakeFollower([AskReplay(1, START, START)], waits)
    one = Asking(["tcp://127.0.0.1:1"], [], [""])
    one.ask(0, cast("Follower", follower), 0.0)
    links[0].answers.append(Answer(1, "message", {}, frames))
    size = sum(map(len, frames))
    one._hellos.clear()  # their ids are those of the fake
    assert one.take(0.0)
    assert follower.came == 1
    assert links[0].granted == (size if waits else 0)
    follower.bytes_held = 50
    one.ask(0, cast("Follower", follower), 0.0)
    assert links[0].granted == size
