"""The tables of the built-in workload.

WORKLOAD_TABLES: every column type that Google's emulator puts into records, a composite key, a named
schema, and names in lower case so that both dialects spell them alike. `all_tables` adds the rest:
every type of a dialect and arrays of each, key parts that are NULL, reserved words and other scripts.
"""

from __future__ import annotations

from spanwire.simulator.schema import Code, Column, Dialect, Table

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

_SCALARS: tuple[Code, ...] = (
    *("BOOL", "INT64", "FLOAT32", "FLOAT64", "NUMERIC", "STRING", "BYTES", "DATE", "TIMESTAMP", "JSON"),
    *("UUID", "INTERVAL"),
)
_OF_DIALECT: dict[Dialect, tuple[Code, ...]] = {"googlesql": ("PROTO", "ENUM"), "postgresql": ("PG_OID",)}
_PROTOS: dict[Code, str] = {"PROTO": "shop.v1.Order", "ENUM": "shop.v1.Order.State"}


def all_tables(dialect: Dialect) -> tuple[Table, ...]:
    """WORKLOAD_TABLES, and with them everything that a change record of that dialect can hold."""
    codes = _SCALARS + _OF_DIALECT[dialect]
    scalars = Table(
        "sales.orders",
        (
            Column("id", "UUID", key=True),
            Column("revision", "INT64"),
            *(Column(f"a_{code.lower()}", code, proto=_PROTOS.get(code, "")) for code in codes),
        ),
    )
    arrays = Table(
        "склад.品目",
        (
            Column("ключ", "STRING", key=True),
            Column("revision", "INT64"),
            *(Column(f"列_{code.lower()}", code, array=True, proto=_PROTOS.get(code, "")) for code in codes),
        ),
    )
    reserved = Table(
        "select",
        (
            Column("group", "STRING", key=True, nullable=True),
            Column("at", "TIMESTAMP", key=True, nullable=True),
            Column("desc", "DATE", key=True, nullable=True),
            Column("array", "BYTES", key=True, nullable=True),
            Column("from", "INT64", key=True),
            Column("revision", "INT64"),
            Column("where", "STRING"),
            Column("null", "JSON"),
            Column("order", "BOOL"),
        ),
    )
    return (*WORKLOAD_TABLES, scalars, arrays, reserved)
