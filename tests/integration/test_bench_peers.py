"""The relay in plain Python that spanwire is measured against does the work that it is measured at."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.peers import sends_what_was_committed

from spanwire.bench import running

pytestmark = pytest.mark.timeout(180)


@pytest.mark.parametrize("values", ["json", "typed"])
@pytest.mark.parametrize("decode", ["values", "lazy"])
def test_the_python_peer_sends_what_was_committed(decode: str, values: str, tmp_path: Path) -> None:
    """Both ways of reading rows."""
    sends_what_was_committed([*running.python_peer(), "--decode", decode], values, tmp_path)
