"""The network of a run does what it says: else no fault would be one."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest
from chaos.proxy import Network, Way


@pytest.fixture
def network() -> Iterator[Network]:
    """Without ways yet."""
    with Network() as network:
        yield network


@pytest.fixture
def echo() -> Iterator[str]:
    """A server that says everything back."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=_serve, args=(listening,), daemon=True).start()
        yield f"tcp://127.0.0.1:{listening.getsockname()[1]}"


def _serve(listening: socket.socket) -> None:
    with suppress(OSError):
        while True:
            client, _ = listening.accept()
            threading.Thread(target=_say_back, args=(client,), daemon=True).start()


def _say_back(client: socket.socket) -> None:
    with client, suppress(OSError):
        while data := client.recv(4096):
            client.sendall(data)


def connect(way: Way) -> socket.socket:
    """A connection through a way."""
    host, _, port = way.endpoint.removeprefix("tcp://").rpartition(":")
    return socket.create_connection((host, int(port)), timeout=60)


def is_cut(client: socket.socket) -> bool:
    """Wait for the end of a connection."""
    try:
        return client.recv(1) == b""
    except ConnectionError:
        return True


def test_a_way_leads_to_and_fro(network: Network, echo: str) -> None:
    """More than any buffer holds."""
    way = network.way()
    way.lead_to(echo)
    sent = bytes(range(256)) * 4096
    with connect(way) as client:
        threading.Thread(target=client.sendall, args=(sent,), daemon=True).start()
        got = b""
        while len(got) < len(sent):
            got += client.recv(1 << 16)
    assert got == sent


def test_a_cut_connection_ends_and_another_can_be_made(network: Network, echo: str) -> None:
    """Both at once, as when a cable is pulled and put back."""
    way = network.way()
    way.lead_to(echo)
    with connect(way) as first:
        first.sendall(b"x")
        assert first.recv(1) == b"x"
        way.cut()
        assert is_cut(first)
    with connect(way) as second:
        second.sendall(b"y")
        assert second.recv(1) == b"y"


def test_a_way_that_leads_nowhere_refuses(network: Network, echo: str) -> None:
    """And leads there once there is somewhere; what was connected is cut when it ends."""
    way = network.way()
    with connect(way) as client:
        assert is_cut(client)
    way.lead_to(echo)
    with connect(way) as client:
        client.sendall(b"x")
        assert client.recv(1) == b"x"
        way.lead_to(None)
        assert is_cut(client)


@pytest.mark.parametrize("direction", ["there", "back"])
def test_a_silent_way_keeps_what_is_sent(network: Network, echo: str, direction: str) -> None:
    """Nothing arrives while it is silent, in whatever direction; all of it does once it is healed."""
    way = network.way()
    way.lead_to(echo)
    with connect(way) as client:
        client.sendall(b"x")
        assert client.recv(1) == b"x"
        way.silence(direction)
        client.sendall(b"yz")
        client.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.recv(1)
        way.heal()
        client.settimeout(60)
        assert client.recv(1) + client.recv(1) == b"yz"
