"""Refusals, as Spanner words them."""

from __future__ import annotations

from typing import Final

import grpc

from spanwire.simulator.values import timestamp_text

_UTC: Final = "+00:00"


class Refused(Exception):
    """A request that is answered with a gRPC status. The message may name anything but row data."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class SessionLost(Exception):
    """The request's session is gone, and with it the stream."""


def invalid(message: str) -> Refused:
    """INVALID_ARGUMENT."""
    return Refused(grpc.StatusCode.INVALID_ARGUMENT, message)


def not_found(message: str) -> Refused:
    """NOT_FOUND."""
    return Refused(grpc.StatusCode.NOT_FOUND, message)


def out_of_range(message: str) -> Refused:
    """OUT_OF_RANGE."""
    return Refused(grpc.StatusCode.OUT_OF_RANGE, message)


def closing() -> Refused:
    """UNAVAILABLE: the server goes away."""
    return Refused(grpc.StatusCode.UNAVAILABLE, "the simulator is closing")


def stamp(nanos: int) -> str:
    """A timestamp as Spanner's messages write it."""
    return timestamp_text(nanos).replace("Z", _UTC)
