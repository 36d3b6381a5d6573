"""Histories on disk, and what became of the committed changes: docs/history.md is the format."""

from spanwire.history.delivered import FAULTS, Comparison, compare
from spanwire.history.sent import Sent, compare_sent

__all__ = ["FAULTS", "Comparison", "Sent", "compare", "compare_sent"]
