"""The consumer library: follows flows and ticks, drops duplicates, tells what is lost."""

from spanwire.consumer.cursor import Cursor
from spanwire.consumer.member import Member
from spanwire.consumer.replaying import Replay, replay
from spanwire.consumer.snapshotting import Snapshot, snapshot
from spanwire.consumer.subscriber import Subscriber
from spanwire.consumer.transactions import Transaction
from spanwire.consumer.worker import Worker

__all__ = [
    "Cursor",
    "Member",
    "Replay",
    "Snapshot",
    "Subscriber",
    "Transaction",
    "Worker",
    "replay",
    "snapshot",
]
