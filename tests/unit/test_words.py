"""Numbers in what people read."""

import pytest

from spanwire.words import counted


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 changes"), (1, "1 change"), (2, "2 changes"), (12_345, "12,345 changes")]
)
def test_one_is_no_plural(number: int, text: str) -> None:
    """And large numbers can be read."""
    assert counted(number, "change") == text
