"""`spanwire init --create-stream` and `check` against a real database."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from integration.emulator import Emulator


@pytest.mark.parametrize("dialect", ["googlesql", "postgresql"])
def test_a_stream_is_created_and_found(emulator: Emulator, dialect: str, tmp_path: Path) -> None:
    """In both dialects; a second time it says that the stream is there already."""
    table = "CREATE TABLE t (id INT64 NOT NULL) PRIMARY KEY (id)"
    if dialect == "postgresql":
        table = "CREATE TABLE t (id bigint PRIMARY KEY)"
    database = emulator.database(dialect, [table])  # type: ignore[arg-type]
    try:
        name = str(database.client.name).split("/")
        names = ["--project", name[1], "--instance", name[3], "--database", name[5], "--stream", "made"]
        env = {**os.environ, "SPANNER_EMULATOR_HOST": database.host}

        def spanwire(*arguments: str) -> subprocess.CompletedProcess[str]:
            command = [sys.executable, "-c", "from spanwire.cli import main; main()", *arguments]
            return subprocess.run(
                command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=150, check=False
            )

        done = spanwire("init", "relay.toml", *names, "--create-stream", "--table", "t", "--json")
        assert done.returncode == 0, done.stderr
        assert "made" in json.loads(done.stdout)["created"]
        checked = spanwire("check", "relay.toml", "--json")
        assert json.loads(checked.stdout)["dialect"] == dialect
        again = spanwire("init", "other.toml", *names, "--create-stream")
        assert again.returncode == 1
        assert "leave out --create-stream" in again.stderr
        assert not (tmp_path / "other.toml").exists()
    finally:
        database.drop()
