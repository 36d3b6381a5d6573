"""The relay's settings: one TOML file, checked as a whole before anything is opened."""

from spanwire.config.load import load, parse, parse_text, schema
from spanwire.config.models import (
    Config,
    OutputConfig,
    SecurityConfig,
    SourceConfig,
    StatusConfig,
    StoreConfig,
)

__all__ = [
    "Config",
    "OutputConfig",
    "SecurityConfig",
    "SourceConfig",
    "StatusConfig",
    "StoreConfig",
    "load",
    "parse",
    "parse_text",
    "schema",
]
