"""A lock on a file that the kernel drops with the process."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from spanwire.errors import StoreError


class FileLock:
    """Holds `<path>.lock` from construction to `release`. StoreError where somebody else holds it.

    A file of its own, because closing any descriptor of the database's file would drop the locks
    that SQLite itself holds on it.
    """

    def __init__(self, path: Path) -> None:
        lock = path.with_name(path.name + ".lock")
        try:
            self._file: int | None = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise StoreError(
                f"{path}: cannot be opened: {error.strerror}; set store.path to a file in a folder that "
                "can be written",
                path=str(path),
            ) from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(self._file, 20, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(self._file)
            raise StoreError(
                f"{path}: is in use by another relay (process {holder}); stop that one, or set store.path "
                "to another file",
                path=str(path),
            ) from None
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let somebody else have it. Calling it again does nothing."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
