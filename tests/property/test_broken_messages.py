"""Messages whose bytes were changed on their way: refused, or read as Cap'n Proto's own library reads them.

spanwire's reader of changes is its own, and that of pycapnp is the C++ library's. spanwire is stricter:
it refuses what points outside, twice at the same place, at text that is not UTF-8, or at a timestamp
that is none. What it does read must be what the other reads.
"""

from __future__ import annotations

import base64
import contextlib
import json
import math
import struct
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.schemas import TODAY, broken, golden, load

from spanwire._core import Message, Timestamp
from spanwire.consumer.inbox import Inbox
from spanwire.errors import FormatError, Gap

SCHEMA = load(TODAY)
HEADER, COLUMNS, BODY = 1, 2, 3


def _lines(frames: list[bytes]) -> list[dict[str, Any]]:
    """The changes of a message as `Change.canonical` describes them, by pycapnp."""
    lines = []
    with SCHEMA.Columns.from_bytes(frames[COLUMNS]) as columns:
        keys = [column.name for column in columns.columns if column.isPrimaryKey]
        rest = [column.name for column in columns.columns if not column.isPrimaryKey]
        for record in SCHEMA.DataChangeRecord.read_multiple_bytes(frames[BODY]):
            for mod in record.mods:
                commit = _timestamp(record.commitTimestamp)
                found = {
                    "keys": _cells(keys, mod.typed.keys),
                    "new": _cells(rest, mod.typed.newValues),
                    "old": _cells(rest, mod.typed.oldValues),
                }
                for other in mod.typed.others:
                    place = {"keys": "keys", "newValues": "new", "oldValues": "old"}[str(other.place)]
                    found[place].setdefault(other.name, {"json": other.json})
                about = {
                    "mod_type": str(record.modType).upper(),
                    "table": columns.table,
                    "version": f"{commit}/{record.serverTransactionId}/{record.recordSequence}/{mod.number}",
                }
                lines.append(found | about)
    return lines


def _cells(names: list[str], cells: Any) -> dict[str, Any]:
    return {name: _value(cell) for name, cell in zip(names, cells, strict=False) if cell.which() != "missing"}


def _value(cell: Any) -> Any:
    kind = str(cell.which())
    if kind != "array":
        return _scalar(kind, None if kind == "null" else getattr(cell, kind))
    kind, nulls = str(cell.array.which()), int.from_bytes(cell.array.nulls, "little")
    elements = enumerate(getattr(cell.array, kind))
    return [None if nulls >> place & 1 else _scalar(kind, element) for place, element in elements]


def _scalar(kind: str, value: Any) -> Any:
    match kind:
        case "int64":
            return str(value)
        case "float64":
            return struct.pack(">d", math.nan if math.isnan(value) else value).hex()
        case "json":
            return {"json": value}
        case "bytes":
            return base64.b64encode(value).decode()
        case "timestamp":
            return _timestamp(value)
        case _:
            return value


def _timestamp(of: Any) -> str:
    return str(Timestamp(of.seconds, of.nanos))


def _header(frames: list[bytes]) -> dict[str, Any]:
    """What a header says, by pycapnp."""
    with SCHEMA.Header.from_bytes(frames[HEADER]) as header:
        return {
            "kind": str(header.kind),
            "values": str(header.values),
            "incarnation": header.incarnation,
            "epoch": header.epoch,
            "sequence": header.sequence,
            "stage": header.stage,
            "routing_generation": header.routingGeneration,
            "count": header.count,
            "received_at": header.receivedAt,
            "sent_at": header.sentAt,
            "partition": header.partition,
            "first": _version(header.first) if header._has("first") else None,
            "last": _version(header.last) if header._has("last") else None,
            "traceparent": header.traceparent,
        }


def _version(of: Any) -> str:
    return f"{_timestamp(of.commitTimestamp)}/{of.transaction}/{of.sequence}/{of.mod}"


def _tick(frames: list[bytes]) -> dict[str, Any]:
    """What a tick says, by pycapnp."""
    with SCHEMA.Tick.from_bytes(frames[BODY]) as tick:
        return {
            "sender": tick.sender,
            "senders": tick.senders,
            "interval_ms": tick.intervalMs,
            "membership_generation": tick.membershipGeneration,
            "partitions": [
                {
                    "id": one.id,
                    "epoch": one.epoch,
                    "starts_at": _timestamp(one.startsAt) if one._has("startsAt") else None,
                    "position": _timestamp(one.position) if one._has("position") else None,
                    "parents": list(one.parents),
                    "state": str(one.state),
                    "children": list(one.children),
                    "moves": [
                        {"at": _timestamp(move.at), "source": move.source, "destination": move.destination}
                        for move in one.moves
                    ],
                    "stage": one.stage,
                }
                for one in tick.partitions
            ],
            "flows": [
                {
                    "topic": one.topic,
                    "partition": one.partition,
                    "epoch": one.epoch,
                    "since": one.since,
                    "next": one.next,
                    "last": _version(one.last) if one._has("last") else None,
                }
                for one in tick.flows
            ],
            "relays": [
                {
                    "incarnation": one.incarnation,
                    "endpoints": list(one.endpoints),
                    "replay": list(one.replay),
                }
                for one in tick.relays
            ],
            "complete": tick.complete,
            "newest": _timestamp(tick.newest) if tick._has("newest") else None,
        }


def _dead_letter(frames: list[bytes]) -> dict[str, Any]:
    """What a dead letter says, by pycapnp."""
    with SCHEMA.DeadLetter.from_bytes(frames[BODY]) as letter:
        return {
            "version": _version(letter.version),
            "table": letter.table,
            "reason": letter.reason,
            "raw": letter.raw,
        }


def _as_text(value: Any) -> Any:
    """With timestamps and versions as their texts."""
    match value:
        case dict():
            return {name: _as_text(inner) for name, inner in value.items()}
        case list():
            return [_as_text(inner) for inner in value]
        case int() | str() | bytes() | None:
            return value
        case _:
            return str(value)


def _by_spanwire(read: Any, frames: list[bytes]) -> Any:
    """What spanwire reads where pycapnp reads with `read`. FormatError where it refuses."""
    message = Message.decode(frames)
    if read is _lines:
        return [json.loads(change.canonical()) for change in message.changes()]
    if read is _tick:
        return _as_text(message.tick())
    if read is _dead_letter:
        return _as_text(message.dead_letter())
    return {name: _as_text(getattr(message, name)) for name in _header(golden("tick"))}


PLACES = [
    pytest.param("typed", HEADER, _header, id="header"),
    pytest.param("typed", COLUMNS, _lines, id="columns"),
    pytest.param("typed", BODY, _lines, id="changes"),
    pytest.param("tick", BODY, _tick, id="tick"),
    pytest.param("dead-letter", BODY, _dead_letter, id="dead letter"),
]


@pytest.mark.parametrize(("name", "_place", "read"), PLACES)
def test_a_whole_message_is_read_alike(name: str, _place: int, read: Any) -> None:
    """What the test below compares is there."""
    frames = golden(name)
    assert (said := _by_spanwire(read, frames))
    assert said == read(frames)


@pytest.mark.parametrize(("name", "place", "read"), PLACES)
@given(choose=st.randoms(use_true_random=False))
def test_a_broken_message_is_refused_or_read_alike(name: str, place: int, read: Any, choose: Random) -> None:
    """Whatever spanwire reads of it, the C++ library reads too."""
    frames = golden(name)
    frames[place] = broken(frames[place], choose)
    with contextlib.suppress(FormatError):
        said = _by_spanwire(read, frames)
        assert said == read(frames)


@given(st.lists(st.sampled_from(["tick", "typed", "json", "dead-letter"]), min_size=1, max_size=5), st.data())
def test_a_consumer_refuses_broken_messages_or_goes_on(names: list[str], data: st.DataObject) -> None:
    """Whatever they say of flows, partitions and changes: a FormatError at the worst.

    Whole messages are taken after them.
    """
    choose = data.draw(st.randoms(use_true_random=False))
    inbox = Inbox([""], ["shop/orders_stream/_dead/"])
    for name in names:
        frames = golden(name)
        for place in choose.sample((HEADER, COLUMNS, BODY), choose.randint(1, 2)):
            frames[place] = frames[place] and broken(frames[place], choose)
        with contextlib.suppress(FormatError):
            inbox.take(frames, 0.0)
            while (found := inbox.next()) is not None:
                output, item = found
                if isinstance(item, Gap):
                    assert str(item)
                elif item.kind == "changes":
                    inbox.fresh(output, item)
        inbox.settle()
    assert inbox.take(golden("tick"), 0.0) is not None
