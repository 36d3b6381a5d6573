"""A consumer in a process of its own, which keeps its cursor beside what it was given.

    python -m chaos.consumer '<json>'      the members of `Asked`

Changes, gaps and watermark go into a SQLite file in the same transaction as the cursor behind them, so a
consumer that is killed goes on exactly there. Says {"ready": true} once it has joined. Told
{"until": "<timestamp>"} it ends when it has everything up to there: {"done": <lines>}.
"""

from __future__ import annotations

import json
import os
import sqlite3
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from chaos.planted import VARIABLE
from chaos.planted_consumer import MUTANTS

from spanwire._core import Change, Timestamp
from spanwire.consumer import Subscriber
from spanwire.history.lines import Announced, Consumer, Watermark

_JOIN_S = 60.0
_LAYOUT = """
CREATE TABLE IF NOT EXISTS line (number INTEGER PRIMARY KEY, text TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS cursor (one INTEGER PRIMARY KEY CHECK (one = 1), text TEXT NOT NULL);
"""


@dataclass(frozen=True)
class Asked:
    """What a consumer is started with."""

    file: str
    kind: str
    order: str
    endpoint: str
    replay: str
    topics: list[str]
    tables: list[str] | None
    start: str
    """A timestamp: everything after it is owed."""
    high_water_mark: int


class Ledger:
    """What was handed over, and the cursor behind it."""

    def __init__(self, path: str) -> None:
        # A process that is killed loses nothing that the kernel has: no need to wait for the disk.
        self._database = sqlite3.connect(path, isolation_level=None, timeout=30)
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = OFF")
        self._database.executescript(_LAYOUT)

    @property
    def cursor(self) -> str | None:
        """Where to go on; None at the first start."""
        row = self._database.execute("SELECT text FROM cursor").fetchone()
        return None if row is None else str(row[0])

    def write(self, lines: Iterable[str], cursor: str) -> None:
        """Both, or neither."""
        self._database.execute("BEGIN IMMEDIATE")
        self._database.executemany("INSERT INTO line (text) VALUES (?)", ((line,) for line in lines))
        self._database.execute("INSERT OR REPLACE INTO cursor VALUES (1, ?)", (cursor,))
        self._database.execute("COMMIT")

    def lines(self) -> Iterator[str]:
        """All of them, in order."""
        for (line,) in self._database.execute("SELECT text FROM line ORDER BY number"):
            yield line

    def close(self) -> None:
        """Close the file."""
        self._database.close()


def export(file: str, history: Path) -> None:
    """Write what a ledger holds as a history."""
    with closing(Ledger(file)) as ledger, history.open("w", encoding="utf-8", newline="\n") as out:
        out.writelines(f"{line}\n" for line in ledger.lines())


class _Consumer:
    def __init__(self, asked: Asked) -> None:
        self._ledger = Ledger(asked.file)
        self._asked = asked
        self._gaps: list[str] = []
        self._until: Timestamp | None = None
        self._told: Timestamp | None = None
        if self._ledger.cursor is None:
            tables = None if asked.tables is None else tuple(asked.tables)
            first = Consumer("transaction" if asked.order == "transaction" else "key", asked.start, tables)
            self._ledger.write([first.line()], asked.start)
        self._subscriber = Subscriber(
            asked.endpoint,
            asked.topics,
            on_gap=lambda gap: self._gaps.append(Announced.of(gap).line()),
            receive_high_water_mark=asked.high_water_mark,
            kind=asked.kind,
            replay=asked.replay,
            start=self._ledger.cursor or asked.start,
            order=asked.order,
        )
        threading.Thread(target=self._listen, daemon=True).start()

    def run(self) -> None:
        """Until everything has come that was waited for."""
        with self._subscriber, closing(self._ledger):
            if not self._subscriber.wait_joined(_JOIN_S):
                _say({"error": f"no tick from the relay in {_JOIN_S:.0f} s"})
                return
            _say({"ready": True})
            said = 0.0
            while self._until is None or self._told is None or self._told < self._until:
                self._take(self._subscriber.receive(0.1))
                if time.monotonic() - said > 0.5:
                    said = time.monotonic()
                    _say({"watermark": str(self._told), "blocked_by": self._subscriber.blocked_by})
            # What would come now is one too many: a repetition, or an invention.
            self._take(self._subscriber.receive(0.5))
        _say({"done": True})

    def _take(self, changes: list[Change]) -> None:
        lines = [*self._gaps, *(change.canonical() for change in changes)]
        self._gaps.clear()
        watermark = self._subscriber.watermark
        if watermark is not None and watermark != self._told:
            self._told = watermark
            lines.append(Watermark(str(watermark)).line())
        if lines:
            self._ledger.write(lines, self._subscriber.cursor)

    def _listen(self) -> None:
        for line in sys.stdin:
            self._until = Timestamp.parse(json.loads(line)["until"])
        # Whoever started this has gone, or has heard all.
        os._exit(0)


def _say(answer: dict[str, object]) -> None:
    print(json.dumps(answer), flush=True)


def main(asked: str) -> None:
    """Consume as asked."""
    if mutant := MUTANTS.get(os.environ.get(VARIABLE, "")):
        mutant.plant()
    _Consumer(Asked(**json.loads(asked))).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
