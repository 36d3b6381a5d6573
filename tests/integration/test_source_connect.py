"""Reaching Spanner: what is read from the database, and one clear line where something is missing."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from google.cloud.spanner_v1 import PartialResultSet
from integration.emulator import DIALECTS, INSTANCE, PROJECT, Dialect, Emulator

from spanwire._core import Timestamp
from spanwire.config import SourceConfig
from spanwire.errors import ConnectError, SourceError
from spanwire.source.connect import connect
from spanwire.source.initial import first_partitions
from spanwire.source.stream import RawStream


def source(emulator: Emulator, name: str, **changed: Any) -> SourceConfig:
    """Settings for a stream in the emulator."""
    known: dict[str, Any] = {
        "project": PROJECT,
        "instance": INSTANCE,
        "database": name,
        "stream": "orders_stream",
        "emulator_host": emulator.host,
        "heartbeat_ms": 100,
        "connect_timeout_s": 30,
    }
    return SourceConfig(**{**known, **changed})


@pytest.fixture(scope="module")
def names(emulator: Emulator) -> dict[Dialect, str]:
    """A database of each dialect with two streams."""
    table = {
        "googlesql": "CREATE TABLE t (k INT64) PRIMARY KEY (k)",
        "postgresql": "CREATE TABLE t (k bigint PRIMARY KEY)",
    }
    options = {
        "googlesql": "OPTIONS (retention_period = '36h')",
        "postgresql": "WITH (retention_period = '36h')",
    }
    return {
        dialect: emulator.database(
            dialect,
            [
                table[dialect],
                f"CREATE CHANGE STREAM orders_stream FOR ALL {options[dialect]}",
                "CREATE CHANGE STREAM other_stream FOR ALL",
            ],
        ).name
        for dialect in DIALECTS
    }


@pytest.mark.parametrize("dialect", DIALECTS)
def test_dialect_and_retention_are_read_from_the_database(
    emulator: Emulator, names: dict[Dialect, str], dialect: Dialect
) -> None:
    """Nothing of it is configured; the first partitions are had with it."""
    began = Timestamp.now()
    with connect(source(emulator, names[dialect])) as connection:
        assert connection.dialect == dialect
        assert connection.retention == "36h"
        assert began <= connection.read_at <= Timestamp.now()
        start = Timestamp.now()
        roots = first_partitions(connection, start, threading.Event())
        assert len(roots) == 2
        assert all(root.start == start and root.parents == () for root in roots)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"stream": "order_stream"}, 'has no change stream "order_stream"; did you mean "orders_stream"?'),
        ({"stream": "zzz"}, 'has no change stream "zzz"; it has orders_stream, other_stream'),
        ({"database": "nowhere"}, "Database not found"),
        ({"instance": "nowhere"}, "Instance not found"),
        (
            {"emulator_host": "127.0.0.1:1", "connect_timeout_s": 2},
            "gave up after 2 s: is an emulator running at 127.0.0.1:1?",
        ),
    ],
)
def test_what_is_missing_is_told_in_one_line(
    emulator: Emulator, names: dict[Dialect, str], changed: dict[str, Any], said: str
) -> None:
    """The line names the thing and what to do."""
    with pytest.raises(ConnectError) as caught:
        connect(source(emulator, names["googlesql"], **changed))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_database_without_streams_is_told_how_to_make_one(emulator: Emulator) -> None:
    """The statement to run stands in the line."""
    empty = emulator.database("googlesql", [])
    with pytest.raises(
        ConnectError, match='it has none; "CREATE CHANGE STREAM orders_stream FOR ALL" makes one'
    ):
        connect(source(emulator, empty.name))


def test_missing_credentials_are_told_in_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without an emulator and without any credentials, before anything is sent."""
    monkeypatch.delenv("SPANNER_EMULATOR_HOST", raising=False)
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    settings = SourceConfig(project="p", instance="in", database="d", stream="s")
    with pytest.raises(ConnectError, match="no Google credentials found; run"):
        connect(settings)


def test_a_credentials_file_that_is_none_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A path that leads nowhere is the commonest mistake."""
    monkeypatch.delenv("SPANNER_EMULATOR_HOST", raising=False)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "gone.json"))
    with pytest.raises(ConnectError, match="no Google credentials found"):
        connect(SourceConfig(project="p", instance="in", database="d", stream="s"))


def test_the_service_is_reached_with_credentials_over_tls(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Application Default Credentials from a file; where no token can be had, the line says so."""
    monkeypatch.delenv("SPANNER_EMULATOR_HOST", raising=False)
    known = {"type": "authorized_user", "client_id": "c", "client_secret": "s", "refresh_token": "r"}
    (tmp_path / "adc.json").write_text(json.dumps({**known, "token_uri": "http://127.0.0.1:1/token"}))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "adc.json"))
    settings = SourceConfig(project="p", instance="in", database="d", stream="s", connect_timeout_s=2)
    with pytest.raises(ConnectError, match="gave up after 2 s: check the network and DNS") as caught:
        connect(settings)
    assert "\n" not in str(caught.value)


def test_a_stream_is_cancelled_from_another_thread(emulator: Emulator, names: dict[Dialect, str]) -> None:
    """A reader that waits for the next heartbeat stops at once, and its room is given back."""
    with connect(source(emulator, names["googlesql"], heartbeat_ms=300_000)) as connection:
        start = Timestamp.now()
        token = first_partitions(connection, start, threading.Event())[0].token
        with RawStream(connection, connection.query.request(token, start)) as stream:
            timer = threading.Timer(0.2, stream.cancel)
            timer.start()
            with pytest.raises(Exception, match="ancelled"):
                list(stream)
        assert connection.pool.acquire().number == 1


def test_messages_are_the_bytes_that_spanner_sent(emulator: Emulator, names: dict[Dialect, str]) -> None:
    """Undecoded: the first holds the metadata, all are PartialResultSets."""
    with connect(source(emulator, names["googlesql"])) as connection:
        request = connection.query.request(None, Timestamp.now())
        with RawStream(connection, request) as stream:
            messages = list(stream)
    assert all(type(message) is bytes for message in messages)
    sets = [PartialResultSet.deserialize(message) for message in messages]
    assert sets[0].metadata.row_type.fields[0].name == "ChangeRecord"
    assert sum(len(one.values) for one in sets) == 2


def test_a_start_in_the_far_future_is_no_expired_retention(
    emulator: Emulator, names: dict[Dialect, str]
) -> None:
    """The same status code means two things; only one is a loss."""
    with connect(source(emulator, names["googlesql"])) as connection:
        ahead = Timestamp(Timestamp.now().seconds + 7200)
        with pytest.raises(SourceError, match="too far in the future") as caught:
            first_partitions(connection, ahead, threading.Event())
        assert type(caught.value) is SourceError
