"""The relay: joins source, core and store, and keeps them going until it is told to stop."""

from spanwire.relay.relay import Relay, build_pipeline, run

__all__ = ["Relay", "build_pipeline", "run"]
