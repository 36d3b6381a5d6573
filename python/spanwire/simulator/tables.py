"""The tables of the built-in workload.

Every column type that Google's emulator puts into records, a composite key, a named schema, and
names in lower case so that both dialects spell them alike.
"""

from __future__ import annotations

from spanwire.simulator.schema import Column, Table

ACCOUNTS = Table(
    "accounts",
    (
        Column("id", "INT64", key=True),
        Column("revision", "INT64"),
        Column("name", "STRING"),
        Column("balance", "NUMERIC"),
        Column("active", "BOOL"),
        Column("opened", "DATE"),
        Column("updated", "TIMESTAMP"),
        Column("rating", "FLOAT64"),
        Column("profile", "JSON"),
        Column("tags", "STRING", array=True),
    ),
)

ORDERS = Table(
    "orders",
    (
        Column("customer", "STRING", key=True),
        Column("number", "INT64", key=True),
        Column("revision", "INT64"),
        Column("note", "STRING"),
        Column("weight", "FLOAT32"),
        Column("signature", "BYTES"),
        Column("placed", "TIMESTAMP"),
        Column("quantities", "INT64", array=True),
        Column("prices", "NUMERIC", array=True),
        Column("express", "BOOL"),
    ),
)

ITEMS = Table(
    "sales.items",
    (
        Column("code", "BYTES", key=True),
        Column("revision", "INT64"),
        Column("title", "STRING"),
        Column("flags", "BOOL", array=True),
        Column("samples", "FLOAT64", array=True),
        Column("weights", "FLOAT32", array=True),
        Column("blobs", "BYTES", array=True),
        Column("days", "DATE", array=True),
        Column("moments", "TIMESTAMP", array=True),
        Column("documents", "JSON", array=True),
    ),
)

WORKLOAD_TABLES = (ACCOUNTS, ORDERS, ITEMS)
