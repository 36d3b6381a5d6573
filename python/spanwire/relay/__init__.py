"""The relay: joins source, core and store, and keeps them going until it is told to stop."""

from spanwire.relay.relay import Relay, bind, build_pipeline, run

__all__ = ["Relay", "bind", "build_pipeline", "run"]
