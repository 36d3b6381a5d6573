"""The bridge from Google Cloud Spanner change streams to ZeroMQ."""

from spanwire import errors
from spanwire._core import (
    Change,
    Message,
    Output,
    Pipeline,
    RecordVersion,
    Timestamp,
    Untyped,
    __version__,
)
from spanwire.consumer import (
    Cursor,
    Member,
    Replay,
    Snapshot,
    Subscriber,
    Transaction,
    Worker,
    replay,
    snapshot,
)

__all__ = [
    "Change",
    "Cursor",
    "Member",
    "Message",
    "Output",
    "Pipeline",
    "RecordVersion",
    "Replay",
    "Snapshot",
    "Subscriber",
    "Timestamp",
    "Transaction",
    "Untyped",
    "Worker",
    "__version__",
    "errors",
    "replay",
    "snapshot",
]
