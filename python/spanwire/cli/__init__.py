"""The command `spanwire`: a file for each of its commands."""

from spanwire.cli.app import app, main

__all__ = ["app", "main"]
