"""`envelope.capnp` in its generations.

Those of the past are kept beside the golden messages written by them; one of the future is made from
today's text.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from random import Random
from typing import Any

import capnp

capnp.remove_import_hook()

_ROOT = Path(__file__).parents[2]
TODAY = _ROOT / "python" / "spanwire" / "envelope.capnp"
GENERATIONS = sorted((_ROOT / "tests" / "golden").glob("[0-9]*"), key=lambda folder: int(folder.name))
_FRAMES = ("1-topic.bin", "2-header.bin", "3-columns.bin", "4-body.bin")
_PLENTY_OF_WORDS = 1 << 16
"""Room for a message in one segment, which is how bodies are framed."""

LATER = {"laterNumber": 2**64 - 1, "laterText": "later"}
"""What a grown schema adds to every struct. Unions get a member `laterMember`, enums `laterName`."""
_ADDED = {
    "struct": [("laterNumber", " :UInt64"), ("laterText", " :Text")],
    "union": [("laterMember", " :Text")],
    "enum": [("laterName", "")],
    "group": [],
}


def load(schema: Path) -> Any:
    """A schema, apart from all others that have the same id."""
    return capnp.SchemaParser().load(str(schema))


def golden(name: str, generation: Path = GENERATIONS[-1]) -> list[bytes]:
    """The frames of a golden message; of the newest generation: as they are written now."""
    return [(generation / name / frame).read_bytes() for frame in _FRAMES]


def grown(schema: str) -> str:
    """The schema after another version has added to every struct, union and enum of it."""
    pieces = re.split(r"([{};])", re.sub("#.*", "", schema))
    blocks: list[tuple[str, list[int]]] = []  # what is open, and the next number of its struct or enum
    text = []
    for words, mark in zip(pieces[::2], pieces[1::2], strict=False):
        text.append(words)
        if mark == "{":
            kind = re.findall(r"\b(struct|union|group|enum)\b", words)[0]
            blocks.append((kind, blocks[-1][1] if kind in ("union", "group") else [0]))
        elif mark == ";" and blocks:
            numbers = [int(number) for number in re.findall(r"@(\d+)", words)]
            blocks[-1][1][0] = max([blocks[-1][1][0], *(number + 1 for number in numbers)])
        elif mark == "}":
            kind, number = blocks.pop()
            for name, of_type in _ADDED[kind]:
                text.append(f"{name} @{number[0]}{of_type};\n")
                number[0] += 1
        text.append(mark)
    return "".join(text)


def shape(schema: Any) -> dict[str, Any]:
    """Where each field of each struct lies and what it is, and the number of each name of each enum."""
    found: dict[str, Any] = {}
    _visit(schema, "", found)
    return found


def _visit(scope: Any, path: str, found: dict[str, Any]) -> None:
    for nested in scope.schema.node.nestedNodes:
        inner, name = getattr(scope, nested.name), f"{path}{nested.name}"
        if inner.schema.node.which() == "enum":
            found |= {f"{name}.{word}": number for word, number in inner.schema.enumerants.items()}
            continue
        _fields(inner.schema, name, found)
        _visit(inner, f"{name}.", found)


def _fields(struct: Any, path: str, found: dict[str, Any]) -> None:
    if struct.node.struct.discriminantCount:
        found[f"{path} which"] = struct.node.struct.discriminantOffset
    for name, field in struct.fields.items():
        about = field.proto.to_dict()
        slot = about.get("slot", {})
        found[f"{path}.{name}"] = (
            str(about["ordinal"]),
            about["discriminantValue"],
            slot.get("offset"),
            str(slot.get("type")),
        )
        if "group" in about:
            _fields(field.schema, f"{path}.{name}", found)


def written_by(later: Any, frames: list[bytes]) -> list[bytes]:
    """A golden message as a relay of the grown schema would send it, with all that was added filled in."""
    topic, header, columns, body = frames
    today = load(TODAY)
    with today.Header.from_bytes(header) as read:
        kind, head = str(read.kind), read.to_dict()
    if columns:
        with today.Columns.from_bytes(columns) as read:
            columns = encoded(later.Columns, filled(read.to_dict(), later.Columns.schema))
        head["columnsHash"] = hashlib.sha256(columns).digest()[:16]
    root = {"tick": "Tick", "deadLetter": "DeadLetter"}.get(kind, "DataChangeRecord")
    records = [record.to_dict() for record in getattr(today, root).read_multiple_bytes(body)]
    struct = getattr(later, root)
    body = b"".join(encoded(struct, filled(record, struct.schema)) for record in records)
    return [topic, encoded(later.Header, filled(head, later.Header.schema)), columns, body]


def encoded(struct: Any, values: dict[str, Any]) -> bytes:
    """A message of one segment."""
    message = struct.new_message(num_first_segment_words=_PLENTY_OF_WORDS)
    message.from_dict(values)
    frame: bytes = message.to_bytes()
    assert frame.startswith(bytes(4)), "one segment"
    return frame


def filled(values: Any, schema: Any) -> Any:
    """The values of a struct, and of all in it, with those that were added later."""
    if isinstance(values, list):
        structs = any(isinstance(value, dict) for value in values)
        return [filled(value, schema.elementType) for value in values] if structs else values
    result = {}
    for name, value in values.items():
        is_deeper = isinstance(value, dict | list)
        result[name] = filled(value, schema.fields[name].schema) if is_deeper else value
    return result | {name: value for name, value in LATER.items() if name in schema.fields}


def broken(frame: bytes, choose: Random) -> bytes:
    """A frame with a few bytes changed: any of them, or one in a pointer, or cut short."""
    changed = bytearray(frame)
    for _ in range(choose.randint(1, 3)):
        at = choose.randrange(len(changed))
        match choose.randrange(6):
            case 0:
                changed[at] = choose.randrange(256)
            case 1:
                changed[at] ^= 1 << choose.randrange(8)
            case 2:  # a word that stands elsewhere: mostly a pointer
                word, other = at & ~7, choose.randrange(len(changed)) & ~7
                changed[word : word + 8] = changed[other : other + 8]
            case 3:  # points a little further, or less far
                changed[at & ~7] = (changed[at & ~7] + choose.choice((4, 8, 248, 252))) % 256
            case 4:  # another length
                changed[at & ~7 | 4] = (changed[at & ~7 | 4] + choose.choice((1, 8, 248))) % 256
            case _ if choose.random() < 0.1:
                del changed[at:]
                changed += bytes(-len(changed) % 8 or 8)
    return bytes(changed)
