"""The errors of spanwire.

SpanwireError
├── ConfigError        a setting that cannot work            (exit 2)
├── SourceError        Spanner, or the way to it
│   ├── ConnectError       cannot connect, no credentials, no such database or stream
│   ├── UnavailableError   a passing fault                    (retryable)
│   ├── RetentionExpired   the range asked for is gone
│   ├── CorruptError       a response that is not what Spanner sends
│   └── UndecodableError   one change that cannot be decoded
├── StoreError         progress cannot be read or written
│   └── FencedError        somebody else owns the partition under a newer epoch
├── SocketError        a ZeroMQ socket, e.g. a port in use
├── FormatError        a message that is not in spanwire's format
├── RefusedError       a relay refused what was asked of it
├── Gap                messages of a flow that did not arrive
├── HeldBackError      more waits for its transactions to be complete than memory allows   (retryable)
└── ClosedError        used after close

No message carries row data.
"""

from __future__ import annotations

from typing import Any, ClassVar


class SpanwireError(Exception):
    """Root of all errors of spanwire. `retryable`: whether the same call may work later."""

    retryable: ClassVar[bool] = False

    def __init__(self, message: str, **fields: Any) -> None:
        super().__init__(message)
        self.fields = fields
        """What the message names, structured: e.g. `setting`, `table`, `version`, `endpoint`."""


class ConfigError(SpanwireError):
    """A setting that cannot work. `problems`: one line each, with the setting's path."""

    @property
    def problems(self) -> list[str]:
        """Every problem at once; at least one."""
        return list(self.fields.get("problems", [str(self)]))


class SourceError(SpanwireError):
    """Spanner, or the way to it, failed."""


class ConnectError(SourceError):
    """Cannot connect: no credentials, no such database or stream, no network."""


class UnavailableError(SourceError):
    """A passing fault of the source."""

    retryable = True


class RetentionExpired(SourceError):
    """The range asked for is older than the stream's retention: its changes cannot be had any more."""


class CorruptError(SourceError):
    """A response that is not a well-formed PartialResultSet."""


class UndecodableError(SourceError):
    """A change that cannot be decoded. Fields: `version`, `table`."""


class StoreError(SpanwireError):
    """Progress cannot be read or written."""


class FencedError(StoreError):
    """A newer epoch owns the partition: this owner must stop."""


class SocketError(SpanwireError):
    """A ZeroMQ socket failed, e.g. its port is in use. Fields: `endpoint`, `errno`."""


class FormatError(SpanwireError):
    """A message that is not in spanwire's format, or needs a feature this version does not know."""


class RefusedError(SpanwireError):
    """A relay refused what was asked of it. Fields: `reason` (Reply.Reason of envelope.capnp), `endpoint`."""


class Gap(SpanwireError):
    """Messages of a flow did not arrive.

    Fields: `topic` (None: any that is subscribed to), `partition`, `epoch`, `incarnation`, `output` (the
    relay's, from 0), `sequences` (first and last missing; None where only `after` and `before` bound the
    gap), `after` (the newest version or timestamp up to which all has come, or None), `before` (the first
    version or timestamp behind the gap, or None), `last` (the newest version missing, where known),
    `certain` (False: ticks were lost too, so something may be missing).
    """


class HeldBackError(SpanwireError):
    """Transactions wait for a partition that is behind, and no more fit into the memory allowed for them.

    Nothing was handed over that the cursor does not have: start again from it. Fields: `partition` (its
    hash, None where it is not known), `watermark`, `changes` (how many wait).
    """

    retryable = True


class ClosedError(SpanwireError):
    """Used after it was closed."""
