"""The consumers, as processes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import IO

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
BUILT = ROOT / "target" / "interop"
SCHEMA = str(files("spanwire") / "envelope.capnp")

_JAVA = f"{BUILT}/java/classes:{BUILT}/java/lib/*"

COMMANDS: dict[str, Sequence[str]] = {
    "python": (sys.executable, str(HERE / "python" / "consume.py"), SCHEMA),
    "go": (str(BUILT / "go" / "consume"),),
    "cpp": (str(BUILT / "cpp" / "consume"),),
    "rust": (str(BUILT / "rust" / "debug" / "consume"),),
    "node": ("node", str(HERE / "node" / "consume.mjs")),
    "java": ("java", "-cp", f"{BUILT}/java/consumer:{_JAVA}", "Main"),
}
EXAMPLES: dict[str, Sequence[str]] = {
    "python": (sys.executable, str(ROOT / "examples" / "python" / "consume.py"), SCHEMA),
    "go": (str(BUILT / "go" / "example"),),
    "cpp": (str(BUILT / "cpp" / "example"),),
    "rust": (str(BUILT / "rust" / "debug" / "example"),),
    "node": ("node", str(ROOT / "examples" / "node" / "consume.mjs")),
    "java": ("java", "-cp", _JAVA, "Consume"),
}
LANGUAGES = os.environ.get("SPANWIRE_INTEROP", "python").split(",")
"""Those that `tests/interop/run` built; Python takes no building."""


class Consumer:
    """A process that prints changes to stdout, and to stderr that it has joined."""

    def __init__(self, command: Sequence[str]) -> None:
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self._out, self._err = bytearray(), bytearray()
        self._joined = threading.Event()
        streams: list[tuple[IO[bytes] | None, bytearray]] = [
            (self.process.stdout, self._out),
            (self.process.stderr, self._err),
        ]
        self._readers = [threading.Thread(target=self._read, args=one, daemon=True) for one in streams]
        for reader in self._readers:
            reader.start()

    @property
    def out(self) -> bytes:
        """What it has printed so far."""
        return bytes(self._out)

    @property
    def err(self) -> bytes:
        """What it has told so far."""
        return bytes(self._err)

    def _read(self, stream: IO[bytes] | None, into: bytearray) -> None:
        assert stream is not None
        for line in stream:
            into += line
            if into is self._err and line.removeprefix(b"spanwire: ").startswith(b"joined"):
                self._joined.set()

    def wait_joined(self, timeout: float = 150.0) -> None:
        """Until nothing that is sent can be missed."""
        assert self._joined.wait(timeout), f"{self.process.args} did not join: {self.err.decode()}"

    def wait(self, timeout: float = 150.0) -> int:
        """Until it has ended; its exit code."""
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            lines = self.out.count(b"\n")
            raise AssertionError(f"{self.process.args} is at {lines} lines: {self.err.decode()}") from None
        for reader in self._readers:
            reader.join()
        return code

    def close(self) -> None:
        """End it, whatever it does."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for reader, stream in zip(self._readers, (self.process.stdout, self.process.stderr), strict=True):
            reader.join()
            assert stream is not None
            stream.close()


@contextmanager
def consumers(commands: Sequence[Sequence[str]]) -> Iterator[list[Consumer]]:
    """Processes that are gone at the end."""
    running: list[Consumer] = []
    try:
        running += [Consumer(command) for command in commands]
        yield running
    finally:
        for one in running:
            one.close()
