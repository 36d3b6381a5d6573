"""Child processes that talk in JSON lines, and that never outlive their parent's block."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from spanwire.errors import SpanwireError

_GRACE_S = 10.0
"""How long a child may take to end when it is asked to."""


class Child:
    """A process of ours: commands as JSON lines to its stdin, answers from its stdout.

    `arguments` are for our own interpreter, or with `program=True` a whole command.

    Its stderr goes to a file, whose end is shown when it dies. A context manager: on exit the child is asked
    to end, or with `kill=True` just killed, as one whose work nobody would miss.
    """

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        log: Path,
        environment: Mapping[str, str] | None = None,
        *,
        program: bool = False,
        kill: bool = False,
    ) -> None:
        self.name = name
        self._log = log
        self._signal = signal.SIGKILL if kill else signal.SIGTERM
        self._answers: queue.Queue[dict[str, Any] | None] = queue.Queue()
        with log.open("wb") as stderr:
            self._process = subprocess.Popen(  # noqa: S603 our own programs, our own arguments
                arguments if program else [sys.executable, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                env={**os.environ, **(environment or {})},
                # Ctrl-C in the terminal is for the parent, which then stops its children in order.
                start_new_session=True,
            )
        self._reader = threading.Thread(target=self._read, name=f"{name}-answers", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    def tell(self, command: Mapping[str, Any]) -> None:
        """Send a command."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(command) + "\n")
            self._process.stdin.flush()
        except OSError:
            raise self._died() from None

    def answer(self, timeout: float) -> dict[str, Any] | None:
        """The next answer; None when time ran out. SpanwireError when the child has died."""
        try:
            answer = self._answers.get(timeout=timeout)
        except queue.Empty:
            return None
        if answer is None:
            self._answers.put(None)
            raise self._died()
        if "error" in answer:
            raise SpanwireError(f"{self.name}: {answer['error']}")
        return answer

    def expect(self, timeout: float) -> dict[str, Any]:
        """The next answer; SpanwireError when it does not come in time."""
        answer = self.answer(timeout)
        if answer is None:
            raise SpanwireError(f"{self.name}: gave no answer in {timeout:.0f} s")
        return answer

    def check(self) -> None:
        """SpanwireError when the child has died."""
        if self._process.poll() is not None:
            raise self._died()

    def stop(self) -> None:
        """Ask it to end, or kill it, and see to it that it does."""
        if self._process.poll() is None:
            self._process.send_signal(self._signal)
        try:
            self._process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Self:
        """The running child."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Gone, whatever happened."""
        self.stop()
        self._reader.join()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            try:
                self._answers.put(json.loads(line))
            except ValueError:
                self._answers.put({"error": f"said {line.strip()!r}, which is not JSON"})
        self._answers.put(None)

    def _died(self) -> SpanwireError:
        code = self._process.wait()
        last = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
        return SpanwireError(
            f"{self.name}: ended with exit code {code}: {' '.join(last) or 'it said nothing'}"
        )
