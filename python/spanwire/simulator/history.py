"""What was committed: kept typed, or written to a file as it happens."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from spanwire.simulator import canonical
from spanwire.simulator.records import DataRecord


class History:
    """All records committed, in commit order. With a file nothing is kept in memory. Thread-safe."""

    def __init__(self, path: Path | None = None) -> None:
        self._records: list[DataRecord] = []
        self._lock = threading.Lock()
        self._file: TextIO | None = path.open("w", encoding="utf-8", newline="\n") if path else None
        self._path = path
        self.changes = 0

    def add(self, records: list[DataRecord]) -> None:
        """Take a transaction's records."""
        with self._lock:
            self.changes += sum(len(record.mods) for record in records)
            if self._file is None:
                self._records += records
            else:
                self._file.writelines(f"{line}\n" for record in records for line in canonical.lines(record))

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
                self._file.flush()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._file is not None:
                self._file.close()
