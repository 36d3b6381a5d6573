"""What every store promises, and what the SQLite file adds."""

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from spanwire._core import Timestamp
from spanwire.config import StoreConfig
from spanwire.errors import FencedError, StoreError
from spanwire.records import PartitionRecord, Progress, State, StreamIdentity
from spanwire.store import MemoryStore, SqliteStore, Store, open_store

IDENTITY = StreamIdentity("p", "in", "shop", "orders_stream")


def at(second: int, nanos: int = 0) -> Timestamp:
    """A timestamp, counted from when these tests begin."""
    return Timestamp(1_700_000_000 + second, nanos)


def root(token: str = "root", second: int = 0) -> PartitionRecord:
    """A partition without parents."""
    return PartitionRecord(token=token, start=at(second))


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """Each kind of store in turn, empty."""
    config = StoreConfig(kind=request.param, path=str(tmp_path / "progress.db"))
    opened = open_store(config, IDENTITY)
    yield opened
    opened.close()


def running(store: Store, token: str = "root") -> PartitionRecord:
    """Put one partition into a store and own it."""
    store.initialise([root(token)])
    store.schedule([token])
    return store.acquire(token, State.SCHEDULED, 0)


def test_partitions_are_kept_as_given_in_order(store: Store) -> None:
    """Tokens of any text, nanoseconds and all parents come back."""
    roots = [
        root("z'; DROP TABLE partition --"),
        PartitionRecord("é\n", Timestamp(253402300799, 999999999), ("a", "b,c")),
    ]
    assert store.load() == []
    store.initialise(roots)
    assert store.load() == roots
    assert store.identity == IDENTITY


def test_first_partitions_are_kept_once(store: Store) -> None:
    """A second start-up cannot put roots beside what is there."""
    store.initialise([root()])
    with pytest.raises(StoreError, match="holds partitions already"):
        store.initialise([root("other")])
    assert store.load() == [root()]


def test_states_go_forward_only(store: Store) -> None:
    """Each step is conditional on the one before it; a late one changes nothing."""
    store.initialise([root()])
    with pytest.raises(StoreError, match="cannot be owned while created"):
        store.acquire("root", State.CREATED, 0)
    with pytest.raises(FencedError):
        store.acquire("root", State.SCHEDULED, 0)
    store.schedule(["root"])
    with pytest.raises(FencedError):
        store.schedule(["root"])
    owned = store.acquire("root", State.SCHEDULED, 0)
    assert owned.state is State.RUNNING
    store.finish("root", owned.epoch)
    for late in (
        lambda: store.finish("root", owned.epoch),
        lambda: store.acquire("root", State.RUNNING, owned.epoch),
        lambda: store.advance([Progress("root", owned.epoch, at(9))]),
        lambda: store.add_children("root", owned.epoch, [root("child")]),
    ):
        with pytest.raises(FencedError, match="the store holds it finished"):
            late()
    assert store.load() == [replace(owned, state=State.FINISHED)]


def test_an_unknown_partition_is_fenced(store: Store) -> None:
    """Nothing is made by updating it."""
    with pytest.raises(FencedError, match="the store holds it unknown"):
        store.advance([Progress("nobody", 1, at(1))])
    assert store.load() == []


def test_epochs_rise_with_every_ownership(store: Store) -> None:
    """Over all partitions; taking over needs the epoch that is there."""
    store.initialise([root("a"), root("b")])
    store.schedule(["a", "b"])
    first, second = (store.acquire(token, State.SCHEDULED, 0) for token in "ab")
    assert second.epoch > first.epoch > 0
    again = store.acquire("a", State.RUNNING, first.epoch)
    assert again.epoch > second.epoch
    with pytest.raises(FencedError):
        store.acquire("a", State.RUNNING, first.epoch)


def test_an_old_owner_stores_nothing(store: Store) -> None:
    """Positions, children and ends under an old epoch are refused, and the fields say whose it is."""
    old = running(store)
    new = store.acquire("root", State.RUNNING, old.epoch)
    with pytest.raises(FencedError) as caught:
        store.advance([Progress("root", old.epoch, at(5))])
    assert caught.value.fields == {"partition": "root", "epoch": old.epoch, "stored_epoch": new.epoch}
    with pytest.raises(FencedError):
        store.add_children("root", old.epoch, [root("child")])
    with pytest.raises(FencedError):
        store.finish("root", old.epoch)
    assert store.load() == [new]


def test_a_position_never_goes_back(store: Store) -> None:
    """Two writes that changed places leave the greater one."""
    owned = running(store)
    store.advance([Progress("root", owned.epoch, at(5, 10))])
    store.advance([Progress("root", owned.epoch, at(5, 9))])
    store.advance([Progress("root", owned.epoch, at(4, 999_999_999))])
    assert store.load()[0].position == at(5, 10)


def test_positions_move_all_together_or_not_at_all(store: Store) -> None:
    """One fenced partition in the batch holds the others back, too."""
    store.initialise([root("a"), root("b")])
    store.schedule(["a", "b"])
    a = store.acquire("a", State.SCHEDULED, 0)
    with pytest.raises(FencedError):
        store.advance([Progress("a", a.epoch, at(3)), Progress("b", 77, at(3))])
    assert [one.position for one in store.load()] == [None, None]


def test_a_child_arrives_once_from_every_parent(store: Store) -> None:
    """The second arrival changes nothing, even when the child has run on or finished."""
    store.initialise([root("a"), root("b")])
    store.schedule(["a", "b"])
    a, b = (store.acquire(token, State.SCHEDULED, 0) for token in "ab")
    merged = PartitionRecord("merged", at(10), ("a", "b"))
    assert store.add_children("a", a.epoch, [merged, merged]) == [merged]
    assert store.add_children("a", a.epoch, [merged]) == []
    store.finish("a", a.epoch)
    assert store.add_children("b", b.epoch, [merged, PartitionRecord("new", at(10), ("b",))]) == [
        PartitionRecord("new", at(10), ("b",))
    ]
    store.finish("b", b.epoch)
    store.schedule(["merged"])
    assert [(one.token, one.state) for one in store.load()] == [
        ("a", State.FINISHED),
        ("b", State.FINISHED),
        ("merged", State.SCHEDULED),
        ("new", State.CREATED),
    ]


def test_only_finished_partitions_are_forgotten(store: Store) -> None:
    """What still runs cannot be dropped."""
    owned = running(store)
    with pytest.raises(FencedError):
        store.forget(["root"])
    store.finish("root", owned.epoch)
    store.forget(["root"])
    assert store.load() == []


def test_a_finished_partition_keeps_where_it_ended(store: Store) -> None:
    """In the same transaction; like any position it never goes back, and it may not be known."""
    owned = running(store)
    store.advance([Progress("root", owned.epoch, at(30))])
    store.finish("root", owned.epoch, at(20))
    assert [(one.state, one.position) for one in store.load()] == [(State.FINISHED, at(30))]
    with pytest.raises(FencedError):
        store.finish("root", owned.epoch, at(40))
    assert [one.position for one in store.load()] == [at(30)]


def test_threads_share_a_store(store: Store) -> None:
    """Epochs stay unique when many threads own partitions at once."""
    tokens = [f"t{number}" for number in range(40)]
    store.initialise([root(token) for token in tokens])
    store.schedule(tokens)
    epochs: list[int] = []

    def own(mine: list[str]) -> None:
        epochs.extend(store.acquire(token, State.SCHEDULED, 0).epoch for token in mine)

    threads = [threading.Thread(target=own, args=(tokens[start::4],)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(epochs) == list(range(min(epochs), min(epochs) + 40))


# ------------------------------------------------------------------ the file


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a file may be made."""
    return tmp_path / "progress.db"


def test_progress_outlives_the_process(path: Path) -> None:
    """States, positions and the epoch counter go on where they were."""
    first = SqliteStore(path, IDENTITY)
    owned = running(first)
    first.advance([Progress("root", owned.epoch, at(5, 123_456_789))])
    first.close()
    first.close()
    second = SqliteStore(path, IDENTITY)
    [stored] = second.load()
    assert stored == replace(owned, position=at(5, 123_456_789))
    assert second.acquire("root", State.RUNNING, owned.epoch).epoch > owned.epoch
    second.close()


def test_epochs_rise_although_their_partitions_are_forgotten(path: Path) -> None:
    """The counter is the file's, not the partitions'."""
    first = SqliteStore(path, IDENTITY)
    owned = running(first)
    first.finish("root", owned.epoch)
    first.forget(["root"])
    first.close()
    second = SqliteStore(path, IDENTITY)
    assert running(second, "next").epoch > owned.epoch
    second.close()


def test_a_second_relay_is_kept_out(path: Path) -> None:
    """One line that names the file and the process; closing lets the next one in."""
    first = SqliteStore(path, IDENTITY)
    with pytest.raises(StoreError, match=rf"in use by another relay \(process {os.getpid()}\)"):
        SqliteStore(path, IDENTITY)
    running(first)  # the refused one has done no harm
    first.close()
    SqliteStore(path, IDENTITY).close()


def test_another_streams_file_is_refused(path: Path) -> None:
    """Progress of one stream is worth nothing to another."""
    SqliteStore(path, IDENTITY).close()
    with pytest.raises(
        StoreError, match=r"holds the progress of .*/orders_stream, not of .*/other; set store"
    ):
        SqliteStore(path, replace(IDENTITY, stream="other"))
    SqliteStore(path, IDENTITY).close()


def test_another_programs_file_is_refused_and_left_alone(path: Path) -> None:
    """A database of somebody else's is not laid out over."""
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE mine (x)")
    with pytest.raises(StoreError, match="is another program's database"):
        SqliteStore(path, IDENTITY)
    with sqlite3.connect(path) as other:
        assert other.execute("SELECT name FROM sqlite_schema").fetchall() == [("mine",)]


def test_a_newer_layout_is_refused(path: Path) -> None:
    """An older program does not guess."""
    SqliteStore(path, IDENTITY).close()
    with sqlite3.connect(path) as file:
        file.execute("PRAGMA user_version = 99")
    with pytest.raises(StoreError, match="has layout 99, this version of spanwire knows 2"):
        SqliteStore(path, IDENTITY)


@pytest.mark.parametrize("damage", ["not a database", "truncated", "overwritten"])
def test_a_damaged_file_is_one_line(path: Path, damage: str) -> None:
    """Whatever is in the file: StoreError, with the path and what to do."""
    store = SqliteStore(path, IDENTITY)
    store.initialise([root(f"partition-{number}" * 20) for number in range(200)])
    store.close()
    whole = path.read_bytes()
    path.write_bytes(
        {
            "not a database": b"hello, world\n" * 1000,
            "truncated": whole[: len(whole) // 2],
            "overwritten": whole[:8192] + b"\xaa" * (len(whole) - 8192),
        }[damage]
    )
    with pytest.raises(StoreError) as caught:
        SqliteStore(path, IDENTITY).load()
    assert str(caught.value).startswith(str(path))
    assert "set store.path to a new file" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_value_that_is_no_timestamp_is_an_error(path: Path) -> None:
    """An edited file is not taken for progress."""
    store = SqliteStore(path, IDENTITY)
    running(store)
    store.close()
    with sqlite3.connect(path) as file:
        file.execute("UPDATE partition SET position = 'soon'")
    with pytest.raises(StoreError, match="is no usable store"):
        SqliteStore(path, IDENTITY).load()


def test_a_folder_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    """The setting to change is named."""
    with pytest.raises(StoreError, match=r"cannot be opened: No such file or directory; set store\.path"):
        SqliteStore(tmp_path / "gone" / "progress.db", IDENTITY)


def test_a_closed_store_says_so(path: Path) -> None:
    """Not a traceback out of sqlite3."""
    store = SqliteStore(path, IDENTITY)
    store.close()
    with pytest.raises(StoreError, match="the store is closed"):
        store.load()


WRITER = textwrap.dedent(
    """
    import sys
    from spanwire._core import Timestamp
    from spanwire.records import PartitionRecord, Progress, State, StreamIdentity
    from spanwire.store import SqliteStore

    store = SqliteStore(sys.argv[1], StreamIdentity("p", "in", "shop", "orders_stream"))
    tokens = ["a", "b", "c"]
    held = {one.token: one for one in store.load()}
    if not held:
        store.initialise([PartitionRecord(token, Timestamp(0)) for token in tokens])
        store.schedule(tokens)
        held = {one.token: one for one in store.load()}
    held = {token: store.acquire(token, one.state, one.epoch) for token, one in held.items()}
    step = max(one.position.seconds if one.position else 0 for one in held.values())
    while True:
        step += 1
        store.advance([Progress(token, one.epoch, Timestamp(step)) for token, one in held.items()])
        store.add_children("a", held["a"].epoch, [])
        print(step, flush=True)
    """
)


def test_killed_in_the_middle_of_writing_the_file_stays_whole(path: Path) -> None:
    """After kill -9 at any moment: all partitions at one position, not before what was acknowledged."""
    acknowledged, epoch = 0, 0
    for wanted in (1, 7, 40, 3):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True, env=os.environ
        )
        assert writer.stdout is not None
        for _ in range(wanted):
            line = writer.stdout.readline()
            assert line, "the writer ended by itself"
            acknowledged = int(line)
        writer.send_signal(signal.SIGKILL)
        for line in writer.stdout:
            acknowledged = int(line)
        writer.wait()
        store = SqliteStore(path, IDENTITY)
        stored = store.load()
        store.close()
        positions = {one.position.seconds for one in stored if one.position is not None}
        assert len(stored) == 3
        assert len(positions) == 1
        assert positions.pop() >= acknowledged
        epochs = [one.epoch for one in stored]
        assert min(epochs) > epoch
        epoch = max(epochs)


def test_a_start_that_was_killed_leaves_nothing_half(path: Path) -> None:
    """The first partitions are there all together or not at all."""
    store = SqliteStore(path, IDENTITY)
    with pytest.raises(StoreError):
        store.initialise([root("a"), root("b"), root("a")])  # refused at the third
    assert store.load() == []
    store.initialise([root("a"), root("b")])
    store.close()


def test_a_memory_store_begins_empty() -> None:
    """Nothing is shared between two of them."""
    MemoryStore(IDENTITY).initialise([root()])
    assert MemoryStore(IDENTITY).load() == []


def test_a_store_begun_anew_goes_on_above_the_epochs_of_the_one_before(tmp_path: Path) -> None:
    """Consumers outlive stores: an epoch they know must not come again when progress was forgotten."""
    before = MemoryStore(IDENTITY)
    before.initialise([root("root")])
    before.schedule(["root"])
    old = before.acquire("root", State.SCHEDULED, 0)
    time.sleep(0.002)
    for anew in (MemoryStore(IDENTITY), SqliteStore(str(tmp_path / "anew.db"), IDENTITY)):
        anew.initialise([root("root")])
        anew.schedule(["root"])
        assert anew.acquire("root", State.SCHEDULED, 0).epoch > old.epoch
        anew.close()
