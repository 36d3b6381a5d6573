"""Planted bugs: what they replace is there, and the package knows nothing of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from chaos.mutants import MUTANTS
from chaos.planted import VARIABLE

TESTS = Path(__file__).parents[1]


@pytest.mark.parametrize("side", ["relay", "consumer"])
def test_what_the_bugs_replace_is_there(side: str) -> None:
    """One that is planted beside what runs would survive for the wrong reason. In a process of its own."""
    code = (
        f"import sys; sys.path.insert(0, {str(TESTS)!r})\n"
        f"from chaos.planted_{side} import MUTANTS\n"
        "for mutant in MUTANTS.values(): mutant.plant()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr


def test_there_are_bugs_enough_and_the_package_has_none_of_them() -> None:
    """Each with words of its own; nothing that is shipped looks for them."""
    assert len(MUTANTS) >= 8
    assert len({one.what for one in MUTANTS.values()}) == len(MUTANTS)
    sources = list((TESTS.parent / "python" / "spanwire").rglob("*.py"))
    assert sources
    assert not any(VARIABLE in path.read_text(encoding="utf-8") for path in sources)
