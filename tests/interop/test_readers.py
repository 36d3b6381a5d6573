"""What consumers in other languages make of messages that spanwire does not send yet."""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import zmq
from interop import later
from interop.consumers import COMMANDS, LANGUAGES, Consumer, consumers

from spanwire._core import Message

Frames = Sequence[bytes]


@pytest.fixture
def socket() -> Iterator[zmq.Socket[bytes]]:
    """Where a relay would send."""
    with zmq.Context() as context, context.socket(zmq.PUB) as socket:
        socket.linger = 0
        yield socket


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The later schema."""
    return later.schema(tmp_path_factory.mktemp("schema"))


def run(socket: zmq.Socket[bytes], language: str, count: int, messages: Sequence[Frames]) -> Consumer:
    """A consumer that has ended, after the messages were sent again and again."""
    port = socket.bind_to_random_port("tcp://127.0.0.1")
    command = (*COMMANDS[language], "shop/", str(count), f"tcp://127.0.0.1:{port}")
    with consumers([command]) as [consumer]:
        until = time.monotonic() + 150
        while consumer.process.poll() is None and time.monotonic() < until:
            for frames in messages:
                socket.send_multipart(frames)
            time.sleep(0.01)
        consumer.wait(1)
        return consumer


def columns(schema: Any, *names_and_codes: tuple[str, str]) -> bytes:
    """A columns frame whose first column is the key."""
    frame = schema.Columns.new_message(table="orders")
    for place, (column, (name, code)) in enumerate(
        zip(frame.init("columns", len(names_and_codes)), names_and_codes, strict=True)
    ):
        column.name, column.isPrimaryKey, column.ordinalPosition = name, place == 0, place + 1
        column.type.code = code
        column.later = "?"
    return bytes(frame.to_bytes())


def header(schema: Any, **fields: Any) -> bytes:
    """A header, its format major 1 unless said otherwise."""
    usual = {"formatMajor": 1, "partition": bytes(16), "columnsHash": bytes(16), "later": b"later"}
    return bytes(schema.Header.new_message(**usual | fields).to_bytes())


def record(schema: Any, mods: Sequence[dict[str, Any]], **fields: Any) -> bytes:
    """A record committed in 1970, or as the fields say."""
    fields = {"modType": "insert", "serverTransactionId": "tx", "recordSequence": "0", "later": "?", **fields}
    message = schema.DataChangeRecord.new_message(**fields)
    message.mods = [{"number": number, "laterField": "?", **mod} for number, mod in enumerate(mods)]
    return bytes(message.to_bytes())


def line(number: int, *, new: Any, keys: Any, mod_type: str = "INSERT", old: Any = None) -> str:
    """The canonical line that is expected."""
    change = {
        "keys": keys,
        "mod_type": mod_type,
        "new": new,
        "old": {} if old is None else old,
        "table": "orders",
        "version": f"1970-01-01T00:00:00.000000000Z/tx/0/{number}",
    }
    return json.dumps(change, separators=(",", ":"), sort_keys=True)


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_a_later_schema_adds_is_left_aside(
    socket: zmq.Socket[bytes], schema: Any, language: str
) -> None:
    """New fields change nothing, new kinds of messages are ignored, new members are "unknown"."""
    frame = columns(schema, ("id", "int64"), ("a", "string"), ("b", "array"), ("c", "later"))
    key = [{"int64": 5}]
    values = [
        [{"later": "?"}, {"array": {"later": ["?"], "laterField": "?"}}],
        [{"text": "x"}, {"array": {"text": ["y"], "laterField": "?"}}],
    ]
    mods: list[dict[str, Any]] = [{"typed": {"keys": key, "newValues": new}} for new in values]
    typed = record(schema, [*mods, {"later": "?"}])
    merged = record(schema, [{"typed": {"keys": key}}], modType="later")
    as_text = record(schema, [{"json": {"keys": '{"id":"5"}', "newValues": '{"c":[1]}', "oldValues": "{}"}}])
    messages = [
        (b"shop/", header(schema, kind="later"), b"", b"later"),
        (b"shop/", header(schema), frame, typed + merged),
        (b"shop/", header(schema, values="json"), frame, as_text),
    ]
    expected = [
        line(0, keys={"id": "5"}, new={"a": "unknown", "b": "unknown"}),
        line(1, keys={"id": "5"}, new={"a": "x", "b": ["y"]}),
        line(2, keys="unknown", new="unknown", old="unknown"),
        line(0, keys={"id": "5"}, new={}, mod_type="UNKNOWN"),
        line(0, keys={"id": "5"}, new={"c": {"json": "[1]"}}),
    ]
    consumer = run(socket, language, 2 * len(expected), messages)
    assert consumer.process.returncode == 0, consumer.err.decode()
    # It may have joined between the messages.
    found = consumer.out.decode().splitlines()
    assert set(found) == set(expected)
    assert found[-len(expected) :] in (expected, expected[-1:] + expected[:-1])


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"requiredFeatures": 2}, "requiredFeatures 0x2"),
        ({"requiredFeatures": 1 << 63}, "requiredFeatures 0x8000000000000000"),
        ({"formatMajor": 2}, "formatMajor 2"),
        ({"bodyEncoding": "zstd"}, "bodyEncoding"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_message_for_a_newer_reader_is_refused(
    socket: zmq.Socket[bytes], schema: Any, language: str, fields: dict[str, Any], said: str
) -> None:
    """One line that names what the reader lacks, exit 1, and nothing printed."""
    frame = columns(schema, ("id", "int64"))
    body = record(schema, [{"typed": {"keys": [{"int64": 5}]}}])
    consumer = run(socket, language, 1, [(b"shop/", header(schema, **fields), frame, body)])
    assert (consumer.process.returncode, consumer.out) == (1, b"")
    [told] = consumer.err.decode().splitlines()
    assert told.startswith("consume: refused: ")
    assert said in told


@pytest.mark.parametrize("language", [*LANGUAGES, "spanwire"])
def test_every_nan_is_written_as_one(socket: zmq.Socket[bytes], schema: Any, language: str) -> None:
    """Not every language keeps the bits of a NaN apart."""
    frame = columns(schema, ("id", "int64"), ("one", "float64"), ("many", "array"))
    new = [{"float64": 1.5}, {"array": {"float64": [0.0, 1.5]}}]
    body = record(schema, [{"typed": {"keys": [{"int64": 5}], "newValues": new}}])
    stand_in, strange = struct.pack("<d", 1.5), struct.pack("<Q", 0xFFF8_0000_0000_0001)
    assert body.count(stand_in) == 2
    message = (b"shop/", header(schema), frame, body.replace(stand_in, strange))
    nan = "7ff8000000000000"
    expected = line(0, keys={"id": "5"}, new={"one": nan, "many": ["0" * 16, nan]})
    if language == "spanwire":
        [change] = Message.decode(message).changes()
        assert change.canonical() == expected
    else:
        assert run(socket, language, 1, [message]).out.decode() == expected + "\n"
