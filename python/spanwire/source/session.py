"""The session that all reads share: multiplexed, renewed when it grows old or Spanner has lost it."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

from google.cloud.spanner_v1 import CreateSessionRequest, Session

_RENEW_AFTER_S = 7 * 24 * 3600
"""As the official client does; a multiplexed session lives for 28 days."""


class SharedSession:
    """One session for any number of concurrent reads. Thread-safe."""

    def __init__(self, create: Callable[[CreateSessionRequest], Session], database: str, role: str) -> None:
        multiplexed = os.environ.get("GOOGLE_CLOUD_SPANNER_MULTIPLEXED_SESSIONS", "true").strip().lower()
        self._create = create
        self._request = CreateSessionRequest(
            database=database, session=Session(creator_role=role, multiplexed=multiplexed != "false")
        )
        self._lock = threading.Lock()
        self._name = ""
        self._made = 0.0

    def name(self) -> str:
        """The session's resource name, made when needed."""
        with self._lock:
            if not self._name or time.monotonic() - self._made > _RENEW_AFTER_S:
                self._renew()
            return self._name

    def lost(self, name: str) -> None:
        """Spanner does not know this session any more; many readers may say so of the same one."""
        with self._lock:
            if name == self._name:
                self._name = ""

    def _renew(self) -> None:
        self._name = self._create(self._request).name
        self._made = time.monotonic()
