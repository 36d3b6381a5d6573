"""Where live messages come from, against sockets that the test plays."""

import contextlib
import time

import zmq

from spanwire.consumer.link import SILENCE_S
from spanwire.consumer.live import Pub

WAIT_S = 60.0


def test_a_pub_is_found_where_a_socket_of_another_kind_was() -> None:
    """ZeroMQ gives such a place up for good: a relay whose ports were mixed up is followed later.

    Seconds are those that `look_around` is told.
    """
    context = zmq.Context.instance()
    wrong, right = context.socket(zmq.ROUTER), context.socket(zmq.PUB)
    port = wrong.bind_to_random_port("tcp://127.0.0.1", 10_000, 32_000)  # bound again below
    gone = wrong.get_monitor_socket(zmq.EVENT_DISCONNECTED | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL)
    live = Pub([f"tcp://127.0.0.1:{port}"], [""], 10)
    try:
        assert gone.poll(WAIT_S * 1000)
        wrong.disable_monitor()
        wrong.close()
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:  # the port is given up a little later
            with contextlib.suppress(zmq.ZMQError):
                right.bind(f"tcp://127.0.0.1:{port}")
                break
            time.sleep(0.05)
        came: list[list[bytes]] = []
        now = 0.0
        while not came and time.monotonic() < deadline:
            live.look_around(now)
            now += SILENCE_S / 10
            right.send(b"tick")
            came += live.take()
            time.sleep(0.05)
        assert came[:1] == [[b"tick"]]
    finally:
        live.close()
        right.close()
        gone.close()
