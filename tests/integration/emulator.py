"""Google's Cloud Spanner emulator as a process of one test run, and databases in it."""

from __future__ import annotations

import itertools
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, Self

from google.auth.credentials import AnonymousCredentials
from google.cloud import spanner
from google.cloud.spanner_admin_database_v1.types import DatabaseDialect
from google.cloud.spanner_v1.database import Database
from support.ports import free_port

Dialect = Literal["googlesql", "postgresql"]
DIALECTS: tuple[Dialect, ...] = ("googlesql", "postgresql")

PROJECT = "test-project"
INSTANCE = "test-instance"
SETTING = "SPANWIRE_EMULATOR"
_BINARY = "emulator_main"
_KNOWN_FOLDERS = (
    Path("/usr/lib/google-cloud-sdk/bin/cloud_spanner_emulator"),
    Path("/usr/share/google-cloud-sdk/bin/cloud_spanner_emulator"),
    Path("~/google-cloud-sdk/bin/cloud_spanner_emulator").expanduser(),
)
_ids = itertools.count(1)


def find_emulator() -> Path | None:
    """The emulator's server, or None where it is not installed.

    By $SPANWIRE_EMULATOR (a folder, or a binary in it), else where Google's packages put it, else on PATH.
    """
    if setting := os.environ.get(SETTING):
        given = Path(setting)
        binary = (given if given.is_dir() else given.parent) / _BINARY
        if not binary.is_file():
            raise FileNotFoundError(f"{SETTING}={setting}: no {_BINARY} there; give the emulator's folder")
        return binary
    for folder in _KNOWN_FOLDERS:
        if (folder / _BINARY).is_file():
            return folder / _BINARY
    for name in (_BINARY, "gateway_main"):
        if (found := shutil.which(name)) and (binary := Path(found).resolve().parent / _BINARY).is_file():
            return binary
    return None


class Emulator:
    """A running emulator on a free port of 127.0.0.1. A context manager; ends with this process."""

    def __init__(self, binary: Path, *flags: str) -> None:
        self._command = [str(binary), *flags]
        # Whatever kills the tests takes the emulator along.
        if setpriv := shutil.which("setpriv"):
            self._command = [setpriv, "--pdeathsig", "KILL", *self._command]
        self._process: subprocess.Popen[bytes] | None = None
        self.host = ""

    def __enter__(self) -> Self:
        port = free_port()
        self.host = f"127.0.0.1:{port}"
        self._process = subprocess.Popen(
            [*self._command, "--host_port", self.host], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        if not self._answers(port):
            self._stop()
            raise RuntimeError(f"{' '.join(self._command)} does not start: run it by hand to see why")
        self._create_instance()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def _answers(self, port: int) -> bool:
        assert self._process is not None
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
            except OSError:
                time.sleep(0.05)
            else:
                return self._process.poll() is None
        return False

    def _stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def client(self) -> spanner.Client:
        """A client of the official library."""
        return spanner.Client(
            project=PROJECT,
            credentials=AnonymousCredentials(),
            client_options={"api_endpoint": self.host},
            disable_builtin_metrics=True,
        )

    def _create_instance(self) -> None:
        self._instance = self.client().instance(
            INSTANCE,
            configuration_name=f"projects/{PROJECT}/instanceConfigs/emulator-config",
            node_count=1,
        )
        self._instance.create().result(60)

    def database(self, dialect: Dialect, ddl: Sequence[str]) -> EmulatorDatabase:
        """A new database of its own, with the DDL applied."""
        kind = DatabaseDialect.POSTGRESQL if dialect == "postgresql" else DatabaseDialect.GOOGLE_STANDARD_SQL
        database = self._instance.database(f"db-{next(_ids)}", database_dialect=kind)
        database.create().result(60)
        created = EmulatorDatabase(self.host, dialect, database)
        if ddl:
            created.ddl(*ddl)
        return created


@dataclass(frozen=True)
class EmulatorDatabase:
    """A database in an emulator."""

    host: str
    dialect: Dialect
    client: Database
    """The official client's."""

    @property
    def name(self) -> str:
        """Its id, such as db-1."""
        return str(self.client.database_id)

    def ddl(self, *statements: str) -> None:
        """Change the schema."""
        self.client.update_ddl(list(statements)).result(60)

    def run(self, work: Callable[[Any], object], *, tag: str | None = None) -> str:
        """Run a transaction, again while the emulator aborts it (its churning does); its commit timestamp."""
        tried: list[Any] = []

        def tries(transaction: Any) -> None:
            tried.append(transaction)
            work(transaction)

        self.client.run_in_transaction(tries, transaction_tag=tag, timeout_secs=60)
        return str(tried[-1].committed.rfc3339())

    def insert(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
        """Insert rows in one transaction; its commit timestamp."""
        values = [list(row) for row in rows]
        return self.run(lambda transaction: transaction.insert(table, columns=columns, values=values))

    def drop(self) -> None:
        """Drop the database: an emulator holds a hundred."""
        self.client.drop()


def now(ahead: float = 0) -> str:
    """The moment `ahead` seconds from now, as RFC 3339 in UTC."""
    moment = datetime.now(UTC) + timedelta(seconds=ahead)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
