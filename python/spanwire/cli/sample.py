"""`spanwire check --sample`: what would go out for given changes, by the very core that a relay runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import typer
import zmq
from google.cloud.spanner_v1 import PartialResultSet
from google.protobuf import struct_pb2

from spanwire._core import Message, Output, Pipeline, Timestamp
from spanwire.config import Config
from spanwire.errors import ConfigError, SpanwireError
from spanwire.words import counted

_WAIT_S = 10.0
_DEFAULTS: dict[str, Any] = {
    "server_transaction_id": "sample",
    "is_last_record_in_transaction_in_partition": True,
    "value_capture_type": "NEW_ROW",
    "number_of_records_in_transaction": 1,
    "number_of_partitions_in_transaction": 1,
    "transaction_tag": "",
    "is_system_transaction": False,
}


@dataclass
class Shown:
    """What goes out through one output."""

    output: int
    kind: str
    changes: list[dict[str, Any]] = field(default_factory=list)
    """Each with its topic, and as `Change.canonical` has it."""
    dead_letters: list[dict[str, Any]] = field(default_factory=list)
    """Each with its topic, table, reason and whether its row would go out."""
    left_out: int = 0
    """Changes that do not go out."""
    undecided: int = 0
    """Changes that go out because a condition on their row could not be decided."""


def show(config: Config, path: Path) -> list[Shown]:
    """What each output would send for the records in a file. ConfigError where that is not one of records."""
    records = [_encoded(record) for record in _records(path)]
    # An output at a time: the counters tell what that one left out.
    return [
        _through(config, number, records) for number, one in enumerate(config.output) if one.kind != "replay"
    ]


def echo(shown: list[Shown]) -> None:
    """As text, a change a line."""
    for one in shown:
        typer.echo(
            f"output[{one.output}] ({one.kind}): sends {counted(len(one.changes), 'change')}, "
            f"leaves out {one.left_out:,}"
            + (f"; could not decide a condition for {one.undecided:,}" if one.undecided else "")
        )
        for change in one.changes:
            values = " ".join(
                f"{part} {json.dumps(change[part], ensure_ascii=False)}" for part in ("keys", "new", "old")
            )
            typer.echo(f"  {change['topic']} {change['mod_type']} {values}")
        for letter in one.dead_letters:
            row = "with its row" if letter["row"] else "without its row"
            typer.echo(f"  {letter['topic']} {letter['table']} {row}: {letter['reason']}")


def _through(config: Config, number: int, records: list[bytes]) -> Shown:
    """Read the records as a relay does, and take what comes out of a socket that nobody else knows of."""
    output, source = config.output[number], config.source
    lane = Output(
        "push", ["tcp://127.0.0.1:*"], values=output.values, topic=output.topic, choice=output.choice()
    )
    shown = Shown(number, output.kind)
    with (
        Pipeline(
            source.database, source.stream, [lane], topic=source.topic, on_undecodable="dead-letter"
        ) as pipeline,
        zmq.Context() as context,
        context.socket(zmq.PULL) as socket,
    ):
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.RCVHWM, 0)
        socket.connect(pipeline.endpoints[0][0])
        partition = pipeline.partition("sample", dialect="postgresql", epoch=1, start=Timestamp(0))
        for record in records:
            partition.push([record])
        partition.finish()
        if not pipeline.drain(_WAIT_S):
            raise SpanwireError("--sample: the changes did not get through the core in time; try again")
        stats = pipeline.stats()
        for _ in range(stats["outputs"][0][0]["messages"]):
            if not socket.poll(round(_WAIT_S * 1000)):
                raise SpanwireError("--sample: the changes did not come out of the core in time; try again")
            _take(shown, Message.decode(socket.recv_multipart()))
        shown.left_out, shown.undecided = stats["filtered"], stats["undecided"]
    shown.changes.sort(key=lambda change: _order(change["version"]))
    return shown


def _take(shown: Shown, message: Message) -> None:
    if message.kind == "deadLetter":
        letter = message.dead_letter()
        shown.dead_letters.append(
            {
                "topic": message.topic,
                "table": letter["table"],
                "reason": letter["reason"],
                "row": bool(letter["raw"]),
            }
        )
        return
    for change in message.changes():
        shown.changes.append({"topic": message.topic, **json.loads(change.canonical())})


def _order(version: str) -> tuple[str, int]:
    """The order of the file: timestamps differ from record to record, where they were not given."""
    rest, number = version.rsplit("/", 1)
    return rest, int(number)


def _records(path: Path) -> Iterator[dict[str, Any]]:
    """The data change records of a file, a line each, what was not given filled in."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "is not UTF-8 text"
        raise ConfigError(f"--sample: {path}: cannot be read: {why}") from None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"--sample: {path}:{number}"
        try:
            given = json.loads(line)
        except ValueError:
            raise ConfigError(f"{where}: is not JSON; write a data change record on each line") from None
        record = given.get("data_change_record", given) if isinstance(given, dict) else {}
        for needed in ("table_name", "column_types", "mod_type", "mods"):
            if needed not in record:
                raise ConfigError(
                    f'{where}: has no "{needed}"; a record has table_name, column_types, mod_type and mods'
                )
        yield _filled(record, number)


def _filled(record: dict[str, Any], number: int) -> dict[str, Any]:
    columns = [
        {"is_primary_key": False, "ordinal_position": place, **column}
        for place, column in enumerate(record["column_types"], start=1)
    ]
    mods = [{"keys": {}, "new_values": {}, "old_values": {}, **one} for one in record["mods"]]
    position = {
        "commit_timestamp": f"2026-01-01T00:00:00.{number:09}Z",
        "record_sequence": "00000000",
    }
    return {**_DEFAULTS, **position, **record, "column_types": columns, "mods": mods}


def _encoded(record: dict[str, Any]) -> bytes:
    """The record as Spanner's answer to a PostgreSQL query has it: that form is JSON already."""
    text = json.dumps({"data_change_record": record}, ensure_ascii=False)
    answer = PartialResultSet.pb()(values=[struct_pb2.Value(string_value=text)])
    return bytes(answer.SerializeToString())
