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
from spanwire.consumer import Member, Replay, Snapshot, Subscriber, Worker, replay, snapshot

__all__ = [
    "Change",
    "Member",
    "Message",
    "Output",
    "Pipeline",
    "RecordVersion",
    "Replay",
    "Snapshot",
    "Subscriber",
    "Timestamp",
    "Untyped",
    "Worker",
    "__version__",
    "errors",
    "replay",
    "snapshot",
]
