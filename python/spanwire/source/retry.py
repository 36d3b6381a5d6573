"""What a failure of Spanner means: try again, or stop with one clear line. Decided here and nowhere else."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field
from typing import Any

import google.auth.exceptions
import grpc
from google.api_core import exceptions as api

from spanwire._core import Timestamp
from spanwire.errors import ConnectError, RetentionExpired, SourceError, SpanwireError, UnavailableError

Code = grpc.StatusCode

FAULTS = (grpc.RpcError, api.GoogleAPICallError, api.RetryError, google.auth.exceptions.GoogleAuthError)
"""What a call to Spanner may raise."""

_PASSING = {Code.UNAVAILABLE, Code.ABORTED, Code.RESOURCE_EXHAUSTED, Code.DEADLINE_EXCEEDED, Code.CANCELLED}
"""Faults that pass, however long they take."""

_UNCLEAR = {Code.INTERNAL, Code.UNKNOWN, Code.DATA_LOSS}
"""Mostly a broken connection; when one keeps coming back without progress, it is something else."""

_EARLIEST = re.compile(r"earliest read timestamp: ([0-9T:.-]+)(?:\+00:00|Z)")


@dataclass(frozen=True)
class Doing:
    """What was being done, for messages: never the data."""

    what: str
    """E.g. "reading partition abc" or "connecting to projects/..."."""
    start: Timestamp | None = None
    """Where the read began."""
    fields: dict[str, Any] = field(default_factory=dict)
    """Structured fields for the error."""


def judge(error: BaseException, doing: Doing) -> SpanwireError:
    """The error as spanwire's own: `retryable` says whether trying again can help.

    Field `session_lost`: a new session is needed first. Field `unclear`: to be given up when it keeps
    coming back without progress.
    """
    if isinstance(error, SpanwireError):
        return error
    if isinstance(error, google.auth.exceptions.GoogleAuthError):
        return _no_credentials(error, doing)
    code, text = _code_and_text(error)
    said = f"{doing.what}: {text}" if text else doing.what
    fields = {**doing.fields, "code": code.name}
    made: SpanwireError
    if code is Code.NOT_FOUND and "session" in text.lower():
        made = UnavailableError(said, session_lost=True, **fields)
    elif code in _PASSING:
        made = UnavailableError(said, **fields)
    elif code in _UNCLEAR:
        made = UnavailableError(said, unclear=True, **fields)
    elif code is Code.OUT_OF_RANGE and "future" not in text:
        made = _expired(text, doing, fields)
    elif code in _CONNECT:
        made = ConnectError(f"{said}; {_CONNECT[code]}", **fields)
    else:
        made = SourceError(f"{said} ({code.name})", **fields)
    return made


_CONNECT = {
    Code.NOT_FOUND: "check source.project, source.instance, source.database and source.stream",
    Code.PERMISSION_DENIED: "grant the relay's identity roles/spanner.databaseReader on the database "
    "(or, with source.database_role, that role)",
    Code.UNAUTHENTICATED: "the credentials are not valid (any more): renew them, "
    'e.g. with "gcloud auth application-default login"',
}


@dataclass
class Backoff:
    """Waiting times between attempts: doubling, with jitter, from the start again after progress."""

    first_s: float = 0.1
    most_s: float = 30.0
    patience: int = 10
    """Unclear failures in a row, without progress, before giving up."""
    jitter: random.Random = field(default_factory=random.Random)
    attempts: int = 0
    unclear: int = 0

    def next(self, error: SpanwireError | None = None) -> float:
        """Seconds to wait before the next attempt; raises the error when it has come too often."""
        if error is not None and error.fields.get("unclear"):
            self.unclear += 1
            if self.unclear >= self.patience:
                raise SourceError(
                    f"{error}; given up after {self.unclear} attempts without progress", **error.fields
                ) from error
        ceiling = min(self.most_s, self.first_s * 2.0 ** min(self.attempts, 30))
        self.attempts += 1
        return ceiling * (0.5 + self.jitter.random() / 2)

    def reset(self) -> None:
        """Something new has arrived: the next failure is a first one."""
        self.attempts = self.unclear = 0


def _code_and_text(error: BaseException) -> tuple[grpc.StatusCode, str]:
    """Status code and first line of what Spanner says."""
    if isinstance(error, api.RetryError):
        return (
            (Code.UNAVAILABLE, _line(_code_and_text(error.cause)[1]))
            if error.cause
            else (Code.UNAVAILABLE, "")
        )
    if isinstance(error, api.GoogleAPICallError):
        return error.grpc_status_code or Code.UNKNOWN, _line(error.message)
    if isinstance(error, grpc.Call):
        return error.code() or Code.UNKNOWN, _line(error.details())
    return Code.UNKNOWN, _line(f"{type(error).__name__}: {error}")


def _line(text: str | None) -> str:
    line = (text or "").strip().split("\n", 1)[0]
    return f"{line[:297]}..." if len(line) > 300 else line


def _no_credentials(error: BaseException, doing: Doing) -> SpanwireError:
    if isinstance(error, google.auth.exceptions.DefaultCredentialsError):
        return ConnectError(
            f'{doing.what}: no Google credentials found; run "gcloud auth application-default login", set '
            "GOOGLE_APPLICATION_CREDENTIALS to a credentials file, or, for an emulator, source.emulator_host",
            **doing.fields,
        )
    if isinstance(error, google.auth.exceptions.TransportError) or getattr(error, "retryable", False):
        return UnavailableError(f"{doing.what}: no access token: {_line(str(error))}", **doing.fields)
    return ConnectError(
        f"{doing.what}: no access token: {_line(str(error))}; renew the credentials, "
        'e.g. with "gcloud auth application-default login"',
        **doing.fields,
    )


def _expired(text: str, doing: Doing, fields: dict[str, Any]) -> SpanwireError:
    """Say which range is lost, and how to go on."""
    found = _EARLIEST.search(text)
    earliest = _parsed(found[1]) if found else None
    since = "what was to be read" if doing.start is None else f"what was committed from {doing.start}"
    until = "up to the stream's retention period ago" if earliest is None else f"to {earliest}"
    return RetentionExpired(
        f"{doing.what}: the stream keeps its changes no longer: {since} {until} is lost to this relay and "
        "cannot be read again; take those rows from the tables, then go on with an empty store and "
        f'source.start = "now" or a timestamp that the stream still keeps. Spanner says: {text}',
        lost_from=doing.start,
        lost_to=earliest,
        **fields,
    )


def _parsed(text: str) -> Timestamp | None:
    try:
        return Timestamp.parse(f"{text}Z")
    except ValueError:
        return None
