"""The peers that spanwire is measured against: programs of a checkout, under benches/peers."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from spanwire.errors import ConfigError


def folder() -> Path:
    """Where the peers' sources are: of this checkout, or what SPANWIRE_PEERS names. ConfigError."""
    found = Path(os.environ.get("SPANWIRE_PEERS") or Path(__file__).parents[3] / "benches" / "peers")
    if not found.is_dir():
        raise ConfigError(
            f"the peers are not at {found}: run the bench in a checkout of spanwire after make build, "
            "or set SPANWIRE_PEERS to its benches/peers"
        )
    return found


def build_go() -> Path:
    """The relay in Go, built by its own script where it is not yet. ConfigError with the reason."""
    sources = folder() / "go"
    for tool in ("go", "cc", "pkg-config"):
        if shutil.which(tool) is None:
            raise ConfigError(f"the peer in Go needs {tool}, which is not here")
    command = [str(sources / "build")]
    done = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603 a script of ours
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:]
        raise ConfigError(f"the peer in Go was not built: {' '.join(last) or 'it does not say why'}")
    return Path(done.stdout.strip())


def plain_python() -> Any:
    """The module of the peer in plain Python, whose `PlainRelay` is the whole of it. ConfigError."""
    try:
        import capnp  # noqa: F401, PLC0415
    except ImportError:
        raise ConfigError("pycapnp is missing: install it with pip install 'spanwire[bench]'") from None
    beside = str(folder() / "python")
    if beside not in sys.path:
        sys.path.append(beside)
    return importlib.import_module("plain_python")
