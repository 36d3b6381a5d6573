"""What is tried again, what ends the relay, and in which words."""

import random

import google.auth.exceptions
import grpc
import pytest
from google.api_core import exceptions as api

from spanwire._core import Timestamp
from spanwire.errors import (
    ConnectError,
    CorruptError,
    RetentionExpired,
    SourceError,
    SpanwireError,
    UnavailableError,
)
from spanwire.source.retry import Backoff, Doing, judge

Code = grpc.StatusCode
DOING = Doing("reading partition abc", Timestamp(1_600_000_000), {"partition": "abc"})


def failed(code: grpc.StatusCode, text: str = "said by Spanner") -> SpanwireError:
    """What becomes of an error with this status."""
    return judge(api.from_grpc_status(code, text), DOING)


@pytest.mark.parametrize(
    "code",
    [
        Code.UNAVAILABLE,
        Code.ABORTED,
        Code.RESOURCE_EXHAUSTED,
        Code.DEADLINE_EXCEEDED,
        Code.CANCELLED,
        Code.INTERNAL,
        Code.UNKNOWN,
        Code.DATA_LOSS,
    ],
)
def test_passing_faults_are_tried_again(code: grpc.StatusCode) -> None:
    """They say what was being done, and carry the status."""
    error = failed(code)
    assert type(error) is UnavailableError
    assert error.retryable
    assert str(error) == "reading partition abc: said by Spanner"
    assert error.fields["partition"] == "abc"
    assert error.fields["code"] == code.name


@pytest.mark.parametrize(
    ("code", "kind", "advice"),
    [
        (Code.NOT_FOUND, ConnectError, "check source.project, source.instance, source.database"),
        (Code.PERMISSION_DENIED, ConnectError, "grant the relay's identity roles/spanner.databaseReader"),
        (Code.UNAUTHENTICATED, ConnectError, "renew them"),
        (Code.INVALID_ARGUMENT, SourceError, "(INVALID_ARGUMENT)"),
        (Code.FAILED_PRECONDITION, SourceError, "(FAILED_PRECONDITION)"),
        (Code.UNIMPLEMENTED, SourceError, "(UNIMPLEMENTED)"),
    ],
)
def test_lasting_faults_are_not(code: grpc.StatusCode, kind: type[SpanwireError], advice: str) -> None:
    """One line with what to do, as far as that is known."""
    error = failed(code)
    assert type(error) is kind
    assert not error.retryable
    assert advice in str(error)
    assert "\n" not in str(error)


def test_every_status_is_decided() -> None:
    """No status slips through undecided."""
    for code in Code:
        if code is not Code.OK:
            assert isinstance(failed(code), SourceError)


def test_a_lost_session_is_renewed() -> None:
    """NOT_FOUND of a session is no missing database."""
    error = failed(Code.NOT_FOUND, "Session not found: projects/p/instances/i/databases/d/sessions/s")
    assert type(error) is UnavailableError
    assert error.fields["session_lost"]


def test_expired_retention_says_what_is_lost_and_how_to_go_on() -> None:
    """The range, from where it should have been read to what the stream still keeps."""
    error = failed(
        Code.OUT_OF_RANGE,
        "Specified start_timestamp is too far in the past. Please specify a start_timestamp within the "
        "earliest read timestamp: 2026-11-23T21:48:13.063968568+00:00. Received start_timestamp: 2020.",
    )
    assert type(error) is RetentionExpired
    assert not error.retryable
    assert str(error.fields["lost_from"]) == "2020-09-13T12:26:40.000000000Z"
    assert str(error.fields["lost_to"]) == "2026-11-23T21:48:13.063968568Z"
    assert "2020-09-13T12:26:40.000000000Z to 2026-11-23T21:48:13.063968568Z is lost" in str(error)
    assert 'source.start = "now"' in str(error)


def test_expired_retention_without_a_known_text_is_still_named() -> None:
    """Spanner may word it otherwise."""
    error = failed(Code.OUT_OF_RANGE, "gone")
    assert type(error) is RetentionExpired
    assert error.fields["lost_to"] is None


def test_a_start_in_the_future_is_no_expired_retention() -> None:
    """The same status says something else."""
    assert type(failed(Code.OUT_OF_RANGE, "start_timestamp is too far in the future")) is SourceError


def test_missing_credentials_name_the_ways_to_give_some() -> None:
    """Not a traceback out of google-auth."""
    error = judge(google.auth.exceptions.DefaultCredentialsError("no\nADC"), DOING)
    assert type(error) is ConnectError
    for way in ("gcloud auth application-default login", "GOOGLE_APPLICATION_CREDENTIALS", "emulator_host"):
        assert way in str(error)


def test_an_access_token_that_cannot_be_fetched_just_now_is_tried_again() -> None:
    """The token server may be away for a moment; a refused refresh is not."""
    assert judge(google.auth.exceptions.TransportError("connection reset"), DOING).retryable
    refused = judge(google.auth.exceptions.RefreshError("invalid_grant"), DOING)
    assert type(refused) is ConnectError
    assert "renew the credentials" in str(refused)


def test_our_own_errors_pass_through() -> None:
    """What the core found out is not judged again."""
    error = CorruptError("truncated")
    assert judge(error, DOING) is error


def test_what_the_service_says_is_cut_to_a_line() -> None:
    """Long or of many lines: the log stays readable."""
    text = str(failed(Code.UNAVAILABLE, "x" * 5000 + "\nsecond line"))
    assert len(text) < 400
    assert "second" not in text


def test_an_exhausted_retry_tells_its_cause() -> None:
    """The client library's own retry hides what went wrong."""
    cause = api.ServiceUnavailable("failed to connect")
    error = judge(api.RetryError("Timeout of 3.0s exceeded", cause), DOING)
    assert str(error) == "reading partition abc: failed to connect"


def test_waiting_doubles_with_jitter_up_to_a_bound() -> None:
    """Half to all of the ceiling, so that many readers do not come back at once."""
    backoff = Backoff(first_s=0.1, most_s=3.0, jitter=random.Random(1))
    waits = [backoff.next() for _ in range(200)]
    for attempt, wait in enumerate(waits):
        ceiling = min(3.0, 0.1 * 2**attempt)
        assert ceiling / 2 <= wait <= ceiling
    assert len(set(waits)) == len(waits)


def test_progress_makes_the_next_failure_a_first_one() -> None:
    """A relay that runs for weeks does not use up a budget."""
    backoff = Backoff(first_s=0.1, patience=3)
    for _ in range(100):
        backoff.next(failed(Code.INTERNAL))
        backoff.next(failed(Code.UNAVAILABLE))
        backoff.reset()
    assert backoff.next() <= 0.1


def test_an_unclear_fault_that_keeps_coming_is_given_up() -> None:
    """It is no passing fault if nothing moves between; a clear one is waited out for ever."""
    backoff = Backoff(patience=3)
    for _ in range(50):
        backoff.next(failed(Code.UNAVAILABLE))
    for _ in range(2):
        backoff.next(failed(Code.INTERNAL))
    with pytest.raises(SourceError, match="given up after 3 attempts without progress") as caught:
        backoff.next(failed(Code.INTERNAL))
    assert not caught.value.retryable
