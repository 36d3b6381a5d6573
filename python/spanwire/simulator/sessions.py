"""Sessions: names that requests must carry; nothing else hangs on them here."""

from __future__ import annotations

import itertools
import threading
import time

from google.cloud.spanner_v1.types import Session

from spanwire.simulator.status import not_found


class Sessions:
    """The sessions of one database. Thread-safe."""

    def __init__(self, database: str) -> None:
        self._database = database
        self._numbers = itertools.count(1)
        self._sessions: dict[str, Session] = {}
        self._lock = threading.Lock()

    def create(self, database: str, wanted: Session) -> Session:
        """Make one, multiplexed or not, with labels and role as wanted."""
        self.check_database(database)
        with self._lock:
            name = f"{self._database}/sessions/simulated-{next(self._numbers)}"
            session = Session(
                name=name,
                labels=dict(wanted.labels),
                creator_role=wanted.creator_role,
                multiplexed=wanted.multiplexed,
                create_time={"seconds": int(time.time())},
            )
            self._sessions[name] = session
        return session

    def check_database(self, database: str) -> None:
        """NOT_FOUND for any database but the simulated one."""
        if database != self._database:
            raise not_found(f"Database not found: {database}")

    def get(self, name: str) -> Session:
        """NOT_FOUND where there is no such session."""
        session = self._sessions.get(name)
        if session is None:
            self.check_database(name.partition("/sessions/")[0])
            raise not_found(f"Session not found: {name}")
        return session

    def all(self) -> list[Session]:
        """Every one."""
        with self._lock:
            return list(self._sessions.values())

    def delete(self, name: str) -> None:
        """Forget it; nothing happens where there is none."""
        with self._lock:
            self._sessions.pop(name, None)
