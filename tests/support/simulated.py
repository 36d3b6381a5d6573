"""A simulator's database as the tests' readers take one."""

from __future__ import annotations

from google.auth.credentials import AnonymousCredentials
from google.cloud import spanner
from integration.emulator import EmulatorDatabase

from spanwire.simulator import Simulator


def simulated(simulator: Simulator) -> EmulatorDatabase:
    """The database behind the official client."""
    config = simulator.config
    client = spanner.Client(
        project=config.project,
        credentials=AnonymousCredentials(),
        client_options={"api_endpoint": simulator.address},
        disable_builtin_metrics=True,
    )
    database = client.instance(config.instance).database(config.database)
    return EmulatorDatabase(simulator.address, config.dialect, database)
