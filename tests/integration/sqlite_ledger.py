"""A consumer with SQLite as its database, for tests to kill: an entry a change, and the cursor with it.

    python sqlite_ledger.py LEDGER ORDER CHANGES REPLAYS SINCE

The ledger has no key: an effect that took place twice stands there twice.
"""

from __future__ import annotations

import sqlite3
import sys

from spanwire import Subscriber, Timestamp


def main(path: str, order: str, changes: str, replays: str, since: str) -> None:
    """Write down every change until killed: each in a transaction of its own, so amid batches too."""
    ledger = sqlite3.connect(path, isolation_level=None)
    ledger.execute("PRAGMA journal_mode = WAL")
    ledger.execute("PRAGMA synchronous = OFF")  # enough where the process dies, not the machine
    ledger.execute("CREATE TABLE IF NOT EXISTS entries (change TEXT)")
    ledger.execute("CREATE TABLE IF NOT EXISTS progress (id INTEGER PRIMARY KEY, cursor TEXT)")
    stored = ledger.execute("SELECT cursor FROM progress").fetchone()
    start = stored[0] if stored else Timestamp.parse(since)
    with Subscriber(changes, replay=replays, start=start, order=order) as subscriber:
        for change in subscriber:
            ledger.execute("BEGIN")
            ledger.execute("INSERT INTO entries VALUES (?)", [change.canonical()])
            ledger.execute("INSERT OR REPLACE INTO progress VALUES (1, ?)", [subscriber.cursor])
            ledger.execute("COMMIT")


if __name__ == "__main__":
    main(*sys.argv[1:])
