"""What a group hands to its members: messages of its input, and dead letters that were requeued."""

from __future__ import annotations

from collections.abc import Sequence

from spanwire._core import Change, Message, RecordVersion
from spanwire.consumer.reached import Lane
from spanwire.errors import FormatError
from spanwire.records import DeadLetter


class Task:
    """One message with the changes of it that are to be handled; a `Work` of the machine."""

    def __init__(
        self, message: Message, frames: Sequence[bytes], begin: int = 0, end: int | None = None
    ) -> None:
        """The changes `begin` to `end` - 1; all without. FormatError where its topic names no slot."""
        self.message = message
        self.frames = frames
        self.slot = slot_of(message.topic)
        self.size = sum(map(len, frames))
        self.begin = begin
        self.end = message.count if end is None else end
        self.lane: Lane | None = (message.partition, message.topic)
        self.letter = 0
        """The number of the dead letter that it was; 0 for none."""
        self._changes: list[Change] | None = None

    @classmethod
    def of_letter(cls, letter: DeadLetter) -> Task:
        """A dead letter to be delivered again. FormatError where it could not even be decoded."""
        message = Message.decode(letter.frames)
        if message.kind != "changes":
            raise FormatError("a change that the relay could not decode cannot be delivered")
        task = cls(message, letter.frames, letter.place, letter.place + 1)
        task.lane, task.letter = None, letter.id
        return task

    @property
    def table(self) -> str:
        """The table of its changes."""
        return self.message.table

    @property
    def until(self) -> int:
        """As `Reply.until`."""
        return self.end if self.end < self.message.count else 0

    def version(self, place: int) -> RecordVersion:
        """The version of one of its changes."""
        if place == 0 and self.message.first is not None:
            return self.message.first
        if self._changes is None:
            self._changes = self.message.changes()
        return self._changes[place].version


def slot_of(topic: str) -> int:
    """The slot that the last level of a topic names."""
    level = topic.removesuffix("/").rpartition("/")[2]
    if not level.isdigit():
        raise FormatError(f'topic "{topic}" names no slot')
    return int(level)
