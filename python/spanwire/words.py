"""Numbers in what people read."""

from __future__ import annotations


def counted(number: int, what: str) -> str:
    """So many of something: "1 change", "2,000 changes"."""
    return f"{number:,} {what}" + ("" if number == 1 else "s")
