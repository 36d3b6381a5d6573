"""The emulators of a test process: each on its own port, ended with the run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from integration.emulator import SETTING, Emulator, find_emulator


@pytest.fixture(scope="session")
def emulator_binary() -> Path:
    """The emulator's server; without one the test is skipped, or with CI=true fails."""
    # Clients of these tests name their emulator; the variable would overrule it.
    os.environ.pop("SPANNER_EMULATOR_HOST", None)
    if binary := find_emulator():
        return binary
    reason = (
        f"Google's Cloud Spanner emulator is not installed: install google-cloud-cli-spanner-emulator, "
        f"or set {SETTING} to the folder of its emulator_main"
    )
    if os.environ.get("CI", "").lower() in ("1", "true"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def emulator(emulator_binary: Path) -> Iterator[Emulator]:
    """An emulator whose partitions live 20 to 40 s."""
    with Emulator(emulator_binary) as running:
        yield running


@pytest.fixture(scope="session")
def churning_emulator(emulator_binary: Path) -> Iterator[Emulator]:
    """An emulator whose partitions live 2 to 4 s: they split, merge and move while a test looks on."""
    with Emulator(emulator_binary, "--override_change_stream_partition_token_alive_seconds=2") as running:
        yield running
