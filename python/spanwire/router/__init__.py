"""What a relay is asked: exchanges over a ROUTER socket, each with its credit, its limits and its answer."""

from spanwire.router.exchanges import REASONS, Exchange, Exchanges, Limits
from spanwire.router.router import Router
from spanwire.router.sending import Handler, Refusal, Sending, in_background

__all__ = [
    "REASONS",
    "Exchange",
    "Exchanges",
    "Handler",
    "Limits",
    "Refusal",
    "Router",
    "Sending",
    "in_background",
]
