"""ZeroMQ endpoints and listen addresses: whether they are well formed, and who can reach them."""

from __future__ import annotations

import ipaddress
import re

_TCP = re.compile(r"tcp://(?P<host>\[[^\]]+\]|[^:\[\]/]+):(?P<port>\*|\d{1,5})")
_LISTEN = re.compile(r"(?P<host>\[[^\]]+\]|[^:\[\]/]+):(?P<port>\d{1,5})")


def endpoint_problem(endpoint: str) -> str | None:
    """What is wrong with an endpoint to bind, or None."""
    if endpoint.startswith("ipc://"):
        return None if len(endpoint) > len("ipc://") else 'needs a path, such as "ipc:///run/spanwire.sock"'
    if endpoint.startswith("inproc://"):
        return "inproc reaches nobody outside the relay; use ipc:// or tcp://"
    found = _TCP.fullmatch(endpoint)
    if found is None:
        return f'must look like "tcp://127.0.0.1:5560" or "ipc:///run/spanwire.sock", is "{endpoint}"'
    return _port_problem(found["port"])


def listen_problem(address: str) -> str | None:
    """What is wrong with a host:port to listen on, or None."""
    found = _LISTEN.fullmatch(address)
    if found is None:
        return f'must look like "127.0.0.1:9464", is "{address}"'
    return _port_problem(found["port"])


def split_listen(address: str) -> tuple[str, int]:
    """Host and port of an address that `listen_problem` has passed."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def only_this_machine(endpoint: str) -> bool:
    """Whether nobody outside this machine can reach it. Host names other than localhost count as outside."""
    if not endpoint.startswith("tcp://"):
        return True
    found = _TCP.fullmatch(endpoint)
    host = found["host"].strip("[]") if found else ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _port_problem(port: str) -> str | None:
    if port != "*" and int(port) > 65535:
        return f"the port must be 0 to 65535, is {port}"
    return None
