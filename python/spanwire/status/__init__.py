"""What the relay tells about itself: health and metrics over HTTP."""

from spanwire.status.metrics import RelayCollector
from spanwire.status.server import StatusServer, cannot_listen, serve

__all__ = ["RelayCollector", "StatusServer", "cannot_listen", "serve"]
