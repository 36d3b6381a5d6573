"""The admin methods that the official client calls on its way to a stream."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from google.cloud.spanner_admin_database_v1.types import (
    Database,
    DatabaseDialect,
    GetDatabaseDdlRequest,
    GetDatabaseDdlResponse,
    GetDatabaseRequest,
    ListDatabasesRequest,
    ListDatabasesResponse,
)
from google.cloud.spanner_admin_instance_v1.types import GetInstanceRequest, Instance

from spanwire.simulator.config import SimulatorConfig
from spanwire.simulator.schema import database_ddl
from spanwire.simulator.status import not_found

Admin = tuple[Callable[[Any], bytes], Callable[[bytes], Any]]
_DIALECTS = {
    "googlesql": DatabaseDialect.GOOGLE_STANDARD_SQL,
    "postgresql": DatabaseDialect.POSTGRESQL,
}


def admin_methods(config: SimulatorConfig) -> dict[str, Admin]:
    """By full name: what answers, and what reads the request."""
    database = Database(
        name=config.database_path,
        state=Database.State.READY,
        create_time={"seconds": int(time.time())},
        version_retention_period="1h",
        database_dialect=_DIALECTS[config.dialect],
    )
    ddl = database_ddl(config.tables, config.stream, config.capture, config.dialect, config.mode)

    def known(name: str) -> None:
        if name != config.database_path:
            raise not_found(f"Database not found: {name}")

    def known_instance(name: str) -> None:
        if name != config.instance_path:
            raise not_found(f"Instance not found: {name}")

    def get_database(request: GetDatabaseRequest) -> bytes:
        known(request.name)
        return bytes(Database.serialize(database))

    def get_ddl(request: GetDatabaseDdlRequest) -> bytes:
        known(request.database)
        return bytes(GetDatabaseDdlResponse.serialize(GetDatabaseDdlResponse(statements=ddl)))

    def list_databases(request: ListDatabasesRequest) -> bytes:
        known_instance(request.parent)
        return bytes(ListDatabasesResponse.serialize(ListDatabasesResponse(databases=[database])))

    def get_instance(request: GetInstanceRequest) -> bytes:
        known_instance(request.name)
        instance = Instance(
            name=config.instance_path,
            config=f"projects/{config.project}/instanceConfigs/simulator",
            display_name="spanwire simulator",
            node_count=1,
            state=Instance.State.READY,
        )
        return bytes(Instance.serialize(instance))

    databases = "/google.spanner.admin.database.v1.DatabaseAdmin/"
    instances = "/google.spanner.admin.instance.v1.InstanceAdmin/"
    return {
        f"{databases}GetDatabase": (get_database, GetDatabaseRequest.deserialize),
        f"{databases}GetDatabaseDdl": (get_ddl, GetDatabaseDdlRequest.deserialize),
        f"{databases}ListDatabases": (list_databases, ListDatabasesRequest.deserialize),
        f"{instances}GetInstance": (get_instance, GetInstanceRequest.deserialize),
    }
