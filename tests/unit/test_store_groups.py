"""What every store promises of groups and their dead letters, and how an older file is taken over."""

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from spanwire._core import Timestamp
from spanwire.config import StoreConfig
from spanwire.errors import FencedError
from spanwire.records import DeadLetter, GroupRecord, PartitionRecord, State, StreamIdentity
from spanwire.store import SqliteStore, Store, open_store

IDENTITY = StreamIdentity("p", "in", "shop", "orders_stream")


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """Each kind of store in turn, empty."""
    config = StoreConfig(kind=request.param, path=str(tmp_path / "progress.db"))
    opened = open_store(config, IDENTITY)
    yield opened
    opened.close()


def letter(number: int, **fields: object) -> DeadLetter:
    """A dead letter whose version says which."""
    plain = DeadLetter(
        version=f"2026-11-23T10:00:{number:02d}.000000000Z/t/0/0",
        table="orders",
        reason="ValueError",
        deliveries=5,
        at=Timestamp(1_700_000_000, number),
        frames=(b"topic/", b"\0header", b"", b"body" * number),
        place=number,
    )
    return replace(plain, **fields)  # type: ignore[arg-type]


def test_a_group_is_made_by_owning_it_and_keeps_its_state(store: Store) -> None:
    """Under an epoch that rises, also above those of partitions."""
    assert store.groups() == []
    first = store.own_group("mail")
    assert first == GroupRecord("mail", first.epoch, "")
    store.save_group(replace(first, state="as far as this"))
    second = store.own_group("mail")
    assert second.epoch > first.epoch
    assert second.state == "as far as this"
    store.initialise([PartitionRecord("root", Timestamp(0))])
    store.schedule(["root"])
    assert store.acquire("root", State.SCHEDULED, 0).epoch > second.epoch
    other = store.own_group("audit")
    assert store.groups() == [other, second]


def test_an_old_owner_of_a_group_saves_nothing(store: Store) -> None:
    """Neither state nor letters; the fields say whose it is."""
    old = store.own_group("mail")
    new = store.own_group("mail")
    with pytest.raises(FencedError, match="another owner goes on with it") as caught:
        store.save_group(replace(old, state="late"), [letter(1)])
    assert caught.value.fields == {"group": "mail", "epoch": old.epoch, "stored_epoch": new.epoch}
    with pytest.raises(FencedError, match="does not know it"):
        store.save_group(GroupRecord("unknown", 7), [letter(1)])
    assert store.groups() == [new]
    assert store.dead_letters("mail") == store.dead_letters("unknown") == []


def test_dead_letters_are_kept_whole_and_in_order(store: Store) -> None:
    """Of each group by itself; a version that dies again takes its own place."""
    mail, audit = store.own_group("mail"), store.own_group("audit")
    store.save_group(mail, [letter(1), letter(2)])
    store.save_group(audit, [letter(1)])
    store.save_group(mail, [letter(3), letter(1, reason="KeyError", deliveries=7)])
    found = store.dead_letters("mail")
    assert [replace(one, id=0) for one in found] == [
        letter(1, reason="KeyError", deliveries=7),
        letter(2),
        letter(3),
    ]
    assert len({one.id for one in found}) == 3
    assert store.dead_letters("mail", limit=1, without=[found[0].id]) == [found[1]]
    assert len(store.dead_letters("audit")) == 1


def test_letters_of_one_version_in_two_tables_are_two(store: Store) -> None:
    """A version that could not be read in full names no change by itself."""
    mail = store.own_group("mail")
    store.save_group(mail, [letter(1), letter(1, table="items")])
    assert len(store.dead_letters("mail")) == 2


def test_a_requeued_letter_is_there_until_it_is_done(store: Store) -> None:
    """By its number, or all; dying again ends the requeueing, being handled drops it."""
    mail = store.own_group("mail")
    store.save_group(mail, [letter(1), letter(2), letter(3)])
    one, two, three = store.dead_letters("mail")
    assert store.requeue("mail", [two.id, 999]) == 1
    assert store.requeue("mail", [two.id]) == 0
    assert store.requeue("other", [one.id]) == 0
    assert store.dead_letters("mail", requeued=True) == [replace(two, requeued=True)]
    assert store.dead_letters("mail", requeued=False) == [one, three]
    assert store.requeue("mail") == 2
    store.save_group(mail, [letter(1, deliveries=9)], done=[two.id])
    assert store.dead_letters("mail") == [replace(one, deliveries=9), replace(three, requeued=True)]


def test_groups_and_letters_outlive_the_process(tmp_path: Path) -> None:
    """They are in the file."""
    first = SqliteStore(tmp_path / "a.db", IDENTITY)
    owned = first.own_group("mail")
    first.save_group(replace(owned, state="here"), [letter(4)])
    first.close()
    second = SqliteStore(tmp_path / "a.db", IDENTITY)
    assert second.groups() == [replace(owned, state="here")]
    assert [replace(one, id=0) for one in second.dead_letters("mail")] == [letter(4)]
    second.close()


def test_a_file_of_the_first_layout_is_taken_over(tmp_path: Path) -> None:
    """Its partitions go on; groups are kept beside them; an older program refuses it then."""
    path = tmp_path / "old.db"
    store = SqliteStore(path, IDENTITY)
    store.initialise([PartitionRecord("root", Timestamp(5))])
    before = store.load()
    store.close()
    with sqlite3.connect(path) as file:  # as the version before left it
        file.executescript("DROP TABLE work_group; DROP TABLE dead_letter; PRAGMA user_version = 1;")
    store = SqliteStore(path, IDENTITY)
    assert store.load() == before
    owned = store.own_group("mail")
    store.save_group(owned, [letter(1)])
    store.close()
    with sqlite3.connect(path) as file:
        assert file.execute("PRAGMA user_version").fetchone() == (2,)
