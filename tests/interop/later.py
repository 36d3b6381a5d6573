"""A schema as a later version may have it: members and fields added wherever that is allowed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import capnp
from interop.consumers import SCHEMA

_MEMBERS = {
    "enum Kind { changes @0;": "enum Kind { later @{} ; changes @0;",
    "enum ModType {": "enum ModType { later @{} ;",
    "enum TypeCode {": "enum TypeCode { later @{} ;",
    "struct Value {\n  union {": "struct Value {\n  union { later @{} :Text;",
    "struct Array {": "struct Array { laterField @{} :Text;",
    "struct Header {": "struct Header { later @{} :Data;",
    "struct DataChangeRecord {": "struct DataChangeRecord { later @{} :Text;",
    "struct Column {": "struct Column { later @{} :Text;",
    "struct Mod {": "struct Mod { laterField @{} :Text;",
}
"""What opens a block, and what then begins it; the number is the next of the block."""


def schema(folder: Path) -> Any:
    """The later schema, loaded; its file is put into the folder."""
    text = Path(SCHEMA).read_text(encoding="utf-8")
    for opening, grown in _MEMBERS.items():
        assert text.count(opening) == 1, opening
        text = text.replace(opening, grown.replace("{}", str(_next(text, opening))))
    # A union's new member, where one is a group: behind a known group of it.
    for known in ("struct Array {", "struct Mod {"):
        at = text.index("union {", text.index(known)) + len("union {")
        kind = ":List(Text)" if "Array" in known else ":Text"
        text = f"{text[:at]} later @{_next(text, known)} {kind};{text[at:]}"
    path = folder / "later.capnp"
    path.write_text(text, encoding="utf-8")
    return capnp.SchemaParser().load(str(path))  # apart from the others of the same id: pycapnp aborts


def _next(text: str, opening: str) -> int:
    """The number behind the last of a block; nested enums have numbers of their own."""
    at = text.index(opening)
    level, end = 0, at
    for end in range(at, len(text)):
        level += {"{": 1, "}": -1}.get(text[end], 0)
        if level == 0 and text[end] == "}":
            break
    block = re.sub(r"#.*", "", text[at:end])
    if opening.startswith("struct"):
        block = re.sub(r"enum \w+ \{[^}]*\}", "", block)
    return max(map(int, re.findall(r"@(\d+)", block))) + 1
