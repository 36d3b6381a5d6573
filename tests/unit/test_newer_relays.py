"""Today's reader and relays of a later version.

What it knows it reads, what it must not overlook it refuses by name, and nothing is taken for something
else.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import zmq
from support.schemas import GENERATIONS, LATER, TODAY, encoded, golden, grown, load, written_by

from spanwire import Subscriber
from spanwire._core import Change, Message
from spanwire.errors import FormatError

_TOPIC = "shop/orders_stream/sales.orders/"
NAMES = sorted(folder.name for folder in GENERATIONS[-1].iterdir() if folder.is_dir())
_OF_A_MESSAGE = [
    name for name in dir(Message) if not name.startswith("_") and not callable(getattr(Message, name))
]
_OF_A_CHANGE = [
    name for name in dir(Change) if not name.startswith("_") and not callable(getattr(Change, name))
]


@pytest.fixture(scope="module")
def later(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The schema of a later version."""
    schema = tmp_path_factory.mktemp("later") / TODAY.name
    schema.write_text(grown(TODAY.read_text(encoding="utf-8")), encoding="utf-8")
    return load(schema)


def _all_of(message: Message) -> dict[str, Any]:
    """All that a message says. What has no columns has no table."""
    said = {name: getattr(message, name) for name in _OF_A_MESSAGE if name not in ("table", "size")}
    if message.kind == "tick":
        return said | {"tick": message.tick()}
    if message.kind == "deadLetter":
        return said | {"dead_letter": message.dead_letter()}
    changes = [
        {name: getattr(change, name) for name in _OF_A_CHANGE} | {"canonical": change.canonical()}
        for change in message.changes()
    ]
    return said | {"table": message.table, "changes": changes}


@pytest.mark.parametrize("name", NAMES)
def test_what_was_added_later_is_left_aside(later: Any, name: str) -> None:
    """A message with fields in every struct that this build does not know says all that it knows."""
    frames = golden(name)
    newer = written_by(later, frames)
    assert any(LATER["laterText"].encode() in frame for frame in newer)
    assert len(_OF_A_MESSAGE) > 10
    assert len(_OF_A_CHANGE) > 10
    newer_says, says = _all_of(Message.decode(newer)), _all_of(Message.decode(frames))
    assert repr(newer_says) == repr(says)  # as text: NaN is what it was


def _changed(later: Any, name: str, root: str, change: Callable[[Any], None]) -> list[bytes]:
    """A message of the later version in which one struct was changed."""
    frames = written_by(later, golden(name))
    place = {"Header": 1, "Columns": 2}.get(root, 3)
    struct = getattr(later, root)
    records = [
        record.as_builder(num_first_segment_words=1 << 16)
        for record in struct.read_multiple_bytes(frames[place])
    ]
    change(records[0])
    frames[place] = b"".join(encoded(struct, record.to_dict()) for record in records)
    return frames


def _set_value(record: Any) -> None:
    record.mods[0].typed.newValues[0].laterMember = "what is this"


def _set_array(record: Any) -> None:
    arrays = [value for value in record.mods[0].typed.newValues if value.which() == "array"]
    arrays[0].array.laterMember = "what is this"


def _set_mod(record: Any) -> None:
    record.mods[0].laterMember = "what is this"


def _set_place(record: Any) -> None:
    record.mods[0].typed.others[0].place = "laterName"


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (_set_value, "kind of value"),
        (_set_array, "kind of array"),
        (_set_mod, "kind of mod"),
        (_set_place, "place"),
    ],
)
def test_a_member_of_a_union_that_is_not_known_refuses_its_body(
    later: Any, change: Callable[[Any], None], what: str
) -> None:
    """A value of a kind added later is refused by name before anything of its record is handed over."""
    message = Message.decode(_changed(later, "typed", "DataChangeRecord", change))
    with pytest.raises(FormatError, match=f"{what} .*this build does not know: update the consumer"):
        message.changes()


@pytest.mark.parametrize("field", ["kind", "values", "bodyEncoding"])
def test_a_name_of_the_header_that_is_not_known_refuses_the_message(later: Any, field: str) -> None:
    """How to read the body hangs on them."""
    frames = _changed(later, "typed", "Header", lambda header: setattr(header, field, "laterName"))
    with pytest.raises(FormatError, match="which this build does not know: update the consumer"):
        Message.decode(frames)


def test_a_state_of_a_partition_that_is_not_known_refuses_its_tick(later: Any) -> None:
    """Whether a partition goes on decides on what is complete."""
    frames = _changed(later, "tick", "Tick", lambda tick: setattr(tick.partitions[0], "state", "laterName"))
    with pytest.raises(FormatError, match="update the consumer"):
        Message.decode(frames).tick()


@pytest.mark.parametrize("field", ["modType", "valueCaptureType"])
def test_a_modification_that_is_not_known_is_refused_where_it_is_asked_for(later: Any, field: str) -> None:
    """The values of its change are what they are; what was done to them is not guessed."""
    frames = _changed(later, "typed", "DataChangeRecord", lambda record: setattr(record, field, "laterName"))
    change = Message.decode(frames).changes()[0]
    assert change.keys == Message.decode(golden("typed")).changes()[0].keys
    with pytest.raises(FormatError, match="update the consumer"):
        _ = change.mod_type if field == "modType" else change.value_capture_type


def test_values_of_a_type_that_is_not_known_are_as_they_were_written(later: Any) -> None:
    """A type code added later does not change how a value is read: its own kind says that."""

    def renamed(columns: Any) -> None:
        for column in columns.columns:
            column.type.code = "laterName"

    changes = Message.decode(_changed(later, "typed", "Columns", renamed)).changes()
    known = Message.decode(golden("typed")).changes()
    assert [change.canonical() for change in changes] == [change.canonical() for change in known]
    assert {column["type"]["code"] for column in changes[0].columns} == {"TYPE_CODE_UNSPECIFIED"}


_REFUSED = [
    (
        "requiredFeatures",
        1 << 5,
        "requires feature bits 5 that this build does not know: update the consumer",
    ),
    ("formatMajor", 2, "format 2, and this build reads format 1: update the consumer"),
]
refused = pytest.mark.parametrize(("field", "value", "why"), _REFUSED, ids=[field for field, *_ in _REFUSED])


def _demanding(field: str, value: int) -> list[bytes]:
    """A message of a relay that will not be overlooked."""
    today = load(TODAY)
    topic, header, *rest = golden("typed")
    with today.Header.from_bytes(header) as read:
        return [topic, encoded(today.Header, read.to_dict() | {field: value}), *rest]


@refused
def test_what_must_not_be_overlooked_refuses_the_message(field: str, value: int, why: str) -> None:
    """One line says what is asked for, and what to do."""
    with pytest.raises(FormatError) as raised:
        Message.decode(_demanding(field, value))
    assert str(raised.value) == f"cannot read the message: header frame: {why}"


@pytest.fixture
def newer_relay() -> Iterator[Callable[[list[bytes]], str]]:
    """Sends a message to each who subscribes; gives its endpoint."""
    stop = threading.Event()
    threads: list[threading.Thread] = []
    context = zmq.Context()

    def serve(frames: list[bytes]) -> str:
        socket = context.socket(zmq.XPUB)
        port = socket.bind_to_random_port("tcp://127.0.0.1")

        def answer() -> None:
            while not stop.is_set():
                if socket.poll(20) and socket.recv() == b"\x01" + _TOPIC.encode():
                    socket.send_multipart(frames)
            socket.close(0)

        threads.append(threading.Thread(target=answer))
        threads[-1].start()
        return f"tcp://127.0.0.1:{port}"

    yield serve
    stop.set()
    for thread in threads:
        thread.join()
    context.term()


@refused
def test_a_subscriber_raises_it(
    newer_relay: Callable[[list[bytes]], str], field: str, value: int, why: str
) -> None:
    """The consumer's library refuses where changes are received."""
    with (
        Subscriber([newer_relay(_demanding(field, value))], topics=[_TOPIC]) as subscriber,
        pytest.raises(FormatError, match=why),
    ):
        subscriber.receive(30)


@refused
def test_tail_says_it_and_fails(
    newer_relay: Callable[[list[bytes]], str], field: str, value: int, why: str
) -> None:
    """`spanwire tail` prints one line and exits with 1."""
    endpoint = newer_relay(_demanding(field, value))
    command = [sys.executable, "-c", "from spanwire.cli import main; main()", "tail", endpoint]
    tail = subprocess.run(
        [*command, "--topic", _TOPIC, "--count", "1", "--timeout", "150"],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert (tail.returncode, tail.stdout) == (1, "")
    *_, last = tail.stderr.strip().splitlines()
    assert why in last
    assert "Traceback" not in tail.stderr
