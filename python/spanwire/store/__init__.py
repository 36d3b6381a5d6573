"""Where progress lives: partitions, their positions, and the epochs that fence their owners."""

from spanwire.config import StoreConfig
from spanwire.records import StreamIdentity
from spanwire.store.base import Store
from spanwire.store.beside import GroupsBeside, groups_beside
from spanwire.store.memory import MemoryStore
from spanwire.store.sqlite import SqliteStore

__all__ = ["GroupsBeside", "MemoryStore", "SqliteStore", "Store", "groups_beside", "open_store"]


def open_store(config: StoreConfig, identity: StreamIdentity) -> Store:
    """The store that the config names, opened for one stream. StoreError where it cannot be."""
    return MemoryStore(identity) if config.kind == "memory" else SqliteStore(config.path, identity)
