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
from spanwire.consumer import Subscriber, Worker

__all__ = [
    "Change",
    "Message",
    "Output",
    "Pipeline",
    "RecordVersion",
    "Subscriber",
    "Timestamp",
    "Untyped",
    "Worker",
    "__version__",
    "errors",
]
