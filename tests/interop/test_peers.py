"""The relay in Go that spanwire is measured against does the work that it is measured at."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.peers import sends_what_was_committed

from spanwire.bench import running


# The first build compiles the client, gRPC and all: minutes on a small machine.
@pytest.mark.timeout(900)
@pytest.mark.parametrize("values", ["json", "typed"])
def test_the_go_peer_sends_what_was_committed(
    values: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where `make interop` has Go, it must build and agree."""
    if "go" not in os.environ.get("SPANWIRE_INTEROP", "").split(","):
        pytest.skip("make interop runs it, where Go is")
    # Its client lends strings until the next row: what is kept for longer becomes garbage.
    monkeypatch.setenv("SPANNER_VTPROTO_POISON_RELEASED_BUFFERS", "true")
    sends_what_was_committed(running.go_peer(), values, tmp_path)
