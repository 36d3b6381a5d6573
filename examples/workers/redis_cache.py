"""Keeps Redis equal to a table: a snapshot of it first, then every change, for ever.

    python redis_cache.py CHANGES REPLAYS TOPIC REDIS

    python redis_cache.py tcp://127.0.0.1:5560 tcp://127.0.0.1:5570 shop/all_tables/orders/ redis://127.0.0.1

A row is a hash, named by topic and primary key, with a field of JSON text for each column. The cursor is
written in the MULTI that writes the rows, so a worker that died goes on exactly where Redis stands.
"""

from __future__ import annotations

import base64
import contextlib
import json
import sys
from collections.abc import Iterable
from itertools import islice
from typing import Any

import redis

from spanwire import Change, Cursor, Subscriber, Untyped, snapshot

AT_ONCE = 1000
"""Rows of a snapshot in one MULTI."""


def main(changes: str, replays: str, topic: str, url: str) -> None:
    """Follow one table until interrupted."""
    cache = redis.Redis.from_url(url, decode_responses=True)
    start = cache.get(f"{topic}cursor") or fill(cache, replays, topic)
    with Subscriber(changes, topic, replay=replays, start=start) as subscriber:
        while True:
            come = subscriber.receive()
            write(cache, topic, come, subscriber.cursor)


def fill(cache: redis.Redis, replays: str, topic: str) -> str:
    """All rows as they are at one moment; the cursor that its changes begin at. Killed, it begins anew."""
    for key in cache.scan_iter(f"{topic}*", count=AT_ONCE):
        cache.delete(key)  # of a fill that came to no end: rows that are gone by now
    table = topic.split("/")[2]
    with snapshot(replays, table, topics=topic) as rows:
        while come := list(islice(rows, AT_ONCE)):
            write(cache, topic, come)
        cursor = Cursor.at(rows.at).encode()
    write(cache, topic, (), cursor)
    return cursor


def write(cache: redis.Redis, topic: str, rows: Iterable[Change], cursor: str | None = None) -> None:
    """Rows and cursor, all or nothing."""
    with cache.pipeline(transaction=True) as pipeline:
        for row in rows:
            key = f"{topic}{as_json(list(row.keys.values()))}"
            if row.mod_type == "DELETE":
                pipeline.delete(key)
            else:  # of an update, only the columns that changed need be there
                values = {**row.keys, **row.new}
                pipeline.hset(key, mapping={name: as_json(value) for name, value in values.items()})
        if cursor is not None:
            pipeline.set(f"{topic}cursor", cursor)
        pipeline.execute()


def as_json(value: Any) -> str:
    """A column's value as JSON text."""
    return json.dumps(value, ensure_ascii=False, default=plain)


def plain(value: Any) -> Any:
    """What JSON has no type for: bytes as base64, dates, timestamps and decimals as text."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return json.loads(value.json) if isinstance(value, Untyped) else str(value)


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    with contextlib.suppress(KeyboardInterrupt):
        main(*sys.argv[1:])
