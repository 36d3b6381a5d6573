"""What was committed: kept typed, or written to a file as it happens."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from spanwire.simulator import canonical
from spanwire.simulator.records import DataRecord

_MANY = 100_000  # changes


class History:
    """All records committed, in commit order. Thread-safe.

    With a file, records wait in memory only until there are many or someone asks for the file: to write
    their lines takes longer than to commit them.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._records: list[DataRecord] = []
        self._lock = threading.Lock()
        self._file: TextIO | None = path.open("w", encoding="utf-8", newline="\n") if path else None
        self._path = path
        self._waiting = 0
        self.changes = 0

    def add(self, records: list[DataRecord]) -> None:
        """Take a transaction's records."""
        changes = sum([len(record.mods) for record in records])
        with self._lock:
            self.changes += changes
            self._waiting += changes
            self._records += records
            if self._file is not None and self._waiting >= _MANY:
                self._spill(self._file)

    def lines(self) -> Iterator[str]:
        """The canonical lines so far, in commit order."""
        if self._path is not None:
            self.flush()
            with self._path.open(encoding="utf-8", newline="\n") as file:
                for line in file:
                    yield line.rstrip("\n")
            return
        with self._lock:
            records = list(self._records)
        for record in records:
            yield from canonical.lines(record)

    def write(self, path: Path) -> int:
        """Write the lines so far to a file; how many there were."""
        count = 0
        with path.open("w", encoding="utf-8", newline="\n") as file:
            for line in self.lines():
                file.write(f"{line}\n")
                count += 1
        return count

    def flush(self) -> None:
        """Everything added is in the file."""
        with self._lock:
            if self._file is not None and not self._file.closed:
                self._spill(self._file)
                self._file.flush()

    def close(self) -> None:
        """Complete and close the file."""
        self.flush()
        with self._lock:
            if self._file is not None:
                self._file.close()

    def _spill(self, file: TextIO) -> None:
        file.writelines(f"{line}\n" for record in self._records for line in canonical.lines(record))
        self._records.clear()
        self._waiting = 0
