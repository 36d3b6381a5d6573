"""The small parts of work groups: sharing slots, what the store keeps, slots of topics, the command line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.change_records import data_change, message
from typer.testing import CliRunner

from spanwire._core import Message, Output, Pipeline, Timestamp
from spanwire.cli import app
from spanwire.config import StoreConfig
from spanwire.consumer.reached import Reached
from spanwire.errors import ConfigError, FormatError, StoreError
from spanwire.records import DeadLetter, StreamIdentity
from spanwire.relay.group.slots import share
from spanwire.relay.group.state import State, watermark_of
from spanwire.relay.group.task import Task, slot_of
from spanwire.store import SqliteStore, groups_beside

IDENTITY = StreamIdentity("p", "in", "shop", "all")
T0 = Timestamp.parse("2026-11-23T10:00:00Z")


@given(
    slots=st.integers(1, 40),
    members=st.lists(st.integers(0, 20), unique=True, max_size=12),
    before=st.dictionaries(st.integers(0, 39), st.integers(0, 20)),
)
def test_slots_are_shared_evenly_and_no_more_move_than_must(
    slots: int, members: list[int], before: dict[int, int]
) -> None:
    """As many stay as the even shares have room for."""
    owners = share(slots, members, before)
    if not members:
        assert owners == {}
        return
    assert owners.keys() == set(range(slots))
    shares = sorted((list(owners.values()).count(one) for one in members), reverse=True)
    assert shares[0] - shares[-1] <= 1
    held = [sum(before.get(slot) == one for slot in range(slots)) for one in members]
    stay = sum(before.get(slot) == owner for slot, owner in owners.items())
    assert stay == sum(min(one, share) for one, share in zip(sorted(held, reverse=True), shares, strict=True))


def test_what_is_kept_of_a_group_comes_back() -> None:
    """Watermark, lanes and counts; lanes of another shape say nothing."""
    lanes = {(b"p" * 16, "shop/all/orders/07/"): (Timestamp(9), [("t", "0", 1), ("t", "0", 2)])}
    state = State(Reached(Timestamp(5, 1), lanes), {"some version": 2}, "64 a/{bucket}/")
    text = state.encode()
    assert State.decode(text) == State.decode(text, "64 a/{bucket}/") == state
    assert State.decode(text, "32 a/{bucket}/") == State(
        Reached(Timestamp(5, 1)), {"some version": 2}, "32 a/{bucket}/"
    )
    assert watermark_of(text) == Timestamp(5, 1)
    assert watermark_of("") is None


@pytest.mark.parametrize("text", ["{", "[]", '{"cursor": 5}', '{"cursor": "x", "failures": {}, "shape": ""}'])
def test_what_cannot_be_read_of_a_group_is_said(text: str) -> None:
    """Instead of beginning anew, which would lose changes."""
    with pytest.raises(StoreError, match="use the version that wrote it"):
        State.decode(text)


def test_a_slot_is_the_last_level_of_a_topic() -> None:
    """With or without zeroes before it."""
    assert slot_of("shop/all/orders/07/") == 7
    assert slot_of("x/123/") == 123
    with pytest.raises(FormatError, match="names no slot"):
        slot_of("shop/all/orders/")


def sent() -> tuple[Message, list[bytes]]:
    """A message of three changes as a group's output sends it."""
    output = Output(
        "ring", [], topic="{table}/{bucket}/", choice={"buckets": 1}, options={"ring_bytes": 1 << 20}
    )
    with Pipeline("shop", "all", [output]) as pipeline:
        reader = pipeline.ring(0).reader(oldest=True)
        partition = pipeline.partition("token", dialect="googlesql", epoch=1, start=T0)
        rows = [({"Id": str(one)}, {"Name": "n"}, {}) for one in range(3)]
        partition.push([message(data_change("2026-11-23T10:00:01Z", rows))])
        while True:
            for frames in reader.read(10):
                if (found := Message.decode(frames)).kind == "changes":
                    return found, frames


def test_a_dead_letter_is_delivered_without_its_neighbours() -> None:
    """It is work of one change, in the message it came in."""
    whole, frames = sent()
    task = Task(whole, frames)
    assert (task.slot, task.begin, task.end, task.until) == (0, 0, 3, 0)
    assert task.lane == (whole.partition, "orders/0/")
    assert [task.version(place) for place in range(3)] == [one.version for one in whole.changes()]
    letter = DeadLetter(str(task.version(1)), "orders", "why", 5, T0, tuple(frames), place=1, id=8)
    again = Task.of_letter(letter)
    assert (again.begin, again.end, again.until, again.lane, again.letter) == (1, 2, 2, None, 8)


def test_groups_can_be_looked_at_beside_their_relay(tmp_path: Path) -> None:
    """While it holds the store; what is requeued there, it sees."""
    path = tmp_path / "progress.db"
    store = SqliteStore(path, IDENTITY)
    owned = store.own_group("mail")
    letters = [DeadLetter(f"v{one}", "orders", "why", 5, T0, (b"a", b"b")) for one in range(250)]
    store.save_group(replace(owned, state=State(Reached(T0)).encode()), letters)
    config = StoreConfig(path=str(path))
    with groups_beside(config, IDENTITY) as beside:
        assert [one.name for one in beside.all()] == ["mail"]
        assert [one.version for one in beside.dead_letters("mail")] == [one.version for one in letters]
        assert beside.requeue("mail", [3]) == 1
        assert beside.count("mail") == (250, 1)
        with pytest.raises(ConfigError, match='no group "post"; it holds: mail'):
            beside.named("post")
    assert [one.version for one in store.dead_letters("mail", requeued=True)] == ["v2"]
    store.save_group(owned)  # and it goes on writing
    store.close()


@pytest.mark.parametrize(
    ("store", "arguments", "code", "said"),
    [
        ('kind = "memory"', ["list"], 2, 'groups can be looked at with "sqlite"'),
        ('path = "{folder}/none.db"', ["list"], 1, "is not there; start the relay once"),
        ('path = "{folder}/a.db"', ["dead", "mail"], 2, 'holds no group "mail"; it holds: none'),
        (
            'path = "{folder}/a.db"',
            ["requeue", "mail"],
            2,
            "name the dead letters to requeue, or write --all",
        ),
    ],
)
def test_wrong_use_of_the_command_is_one_line(
    tmp_path: Path, store: str, arguments: list[str], code: int, said: str
) -> None:
    """With what to do instead."""
    SqliteStore(tmp_path / "a.db", IDENTITY).close()
    config = tmp_path / "relay.toml"
    config.write_text(
        '[source]\nproject = "p"\ninstance = "in"\ndatabase = "shop"\nstream = "all"\n[store]\n'
        + store.format(folder=tmp_path)
        + '\n[[output]]\nkind = "pub"\nbind = "tcp://127.0.0.1:*"\n'
    )
    command, *rest = arguments
    result = CliRunner().invoke(app, ["group", command, str(config), *rest])
    assert isinstance(result.exception, StoreError if code == 1 else ConfigError)
    assert said in str(result.exception)
