"""Processes of a run: they die, stand still and start again, and none outlives the run."""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from spanwire.children import Child
from spanwire.errors import SpanwireError


class Process(Child):
    """A child that may die without that being an error."""

    def __init__(
        self, name: str, arguments: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(name, arguments, log, environment)
        self.stands = False

    @property
    def runs(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    @property
    def failed(self) -> bool:
        """Whether it ended by a fault of its own: not killed, and not asked to."""
        return not self.runs and self._process.returncode > 0

    def kill(self) -> None:
        """As the kernel does it: no word, no clean-up."""
        self._process.kill()
        self._process.wait()

    def pause(self) -> None:
        """Have it stand still."""
        if self.runs:
            self.stands = True
            self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it run again."""
        if self.stands and self.runs:
            self._process.send_signal(signal.SIGCONT)
        self.stands = False

    def stop(self) -> None:
        """Ask it to end, and see to it that it does."""
        self.go_on()
        super().stop()

    def answers(self) -> list[dict[str, Any]]:
        """What it has said meanwhile; [] of one that has died silently. SpanwireError where it failed."""
        found = []
        try:
            while (answer := self.answer(0.001)) is not None:
                found.append(answer)
        except SpanwireError:
            if self.failed or self.runs:
                raise
        return found

    def ask_to_end(self) -> None:
        """Ask it to end, and wait for nothing."""
        if self.runs:
            self._process.send_signal(signal.SIGTERM)

    def obituary(self) -> str:
        """How it ended."""
        return str(self._died())
