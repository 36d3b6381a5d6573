"""The channel pool: room for streams, on as few connections as will carry them."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
import pytest
from grpc import _common
from support.waiting import soon

from spanwire.source.channels import OPTIONS, OWN_THREAD, STREAM_BYTES, ChannelPool, Options


@pytest.fixture
def made() -> list[grpc.Channel]:
    """The channels that were made, in order."""
    return []


@pytest.fixture
def pool(made: list[grpc.Channel]) -> ChannelPool:
    """A pool with room for three streams a channel; nobody listens at its address.

    Only the first channel's streams are read on their readers' threads: gRPC wakes those for nothing.
    """

    def make(options: Options) -> grpc.Channel:
        assert options == ([*OPTIONS, *OWN_THREAD] if not made else OPTIONS)
        made.append(grpc.insecure_channel("127.0.0.1:1", options))
        return made[-1]

    return ChannelPool(make, 3)


def test_a_channel_takes_its_number_of_streams_and_no_more(pool: ChannelPool) -> None:
    """The next stream gets a connection of its own."""
    numbers = [pool.acquire().number for _ in range(7)]
    assert numbers == [1, 1, 1, 2, 2, 2, 3]
    assert len(pool) == 3


def test_few_streams_are_read_on_their_own_threads(made: list[grpc.Channel]) -> None:
    """Also after a time with many: gRPC's thread costs more a message, theirs more while nothing comes."""

    def make(options: Options) -> grpc.Channel:
        assert (OWN_THREAD[0] in options) == (not made)
        made.append(grpc.insecure_channel("127.0.0.1:1", options))
        return made[-1]

    pool = ChannelPool(make, 100)
    leases = [pool.acquire() for _ in range(150)]
    assert [lease.number for lease in leases] == [1] * 32 + [2] * 100 + [3] * 18
    for lease in leases:
        pool.release(lease)
    assert len(pool) == 1
    assert {pool.acquire().number for _ in range(8)} == {1}


def test_room_given_back_is_used_again(pool: ChannelPool) -> None:
    """On the fullest channel with room, so that others can empty."""
    leases = [pool.acquire() for _ in range(5)]
    pool.release(leases[0])
    assert pool.acquire().number == 1
    assert pool.acquire().number == 2


def test_an_empty_channel_is_closed_unless_it_is_the_first(
    pool: ChannelPool, made: list[grpc.Channel]
) -> None:
    """Connections shrink with the streams; one stays for the next."""
    leases = [pool.acquire() for _ in range(4)]
    pool.release(leases[3])
    assert len(pool) == 1
    with pytest.raises(ValueError, match="closed channel"):
        made[1].unary_unary("/x")(b"")
    for lease in leases[:3]:
        pool.release(lease)
    assert len(pool) == 1
    assert pool.acquire().number == 1


def test_a_closed_pool_gives_nothing(pool: ChannelPool) -> None:
    """And takes back without a word."""
    lease = pool.acquire()
    pool.close()
    pool.release(lease)
    with pytest.raises(ValueError, match="closed"):
        pool.acquire()


def test_channels_have_connections_of_their_own() -> None:
    """Without this option, channels to one address share one connection and its limit of streams."""
    assert ("grpc.use_local_subchannel_pool", 1) in OPTIONS
    assert dict(OPTIONS)["grpc.max_receive_message_length"] == -1


def test_a_stream_is_not_sent_far_ahead_of_its_reader() -> None:
    """Also behind a long stretch at full speed, from which gRPC would conclude that it should read ahead."""
    message, read = bytes(64 << 10), 1_000
    sent = threading.Semaphore(0)

    def stream(_: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        while context.is_active():
            sent.release()
            yield message

    with served(stream) as address, grpc.insecure_channel(address, OPTIONS) as channel:
        call: Any = channel.unary_stream("/spanner/read")(b"")
        for _ in range(read):
            next(call)
        begun = 0
        while sent.acquire(timeout=1):
            begun += 1
        call.cancel()
    assert 0 < (begun - read) * len(message) <= 2 * STREAM_BYTES


def test_readers_of_idle_streams_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    """Left to itself gRPC has each look around ten times a second: a thousand take a third of a core."""
    streams, looks, over = 10, [], threading.Event()
    wait_once = _common._wait_once

    def look(*arguments: Any) -> None:
        looks.append(arguments)
        wait_once(*arguments)

    def stream(_: bytes, __: grpc.ServicerContext) -> Iterator[bytes]:
        yield b"first"
        over.wait(120)

    monkeypatch.setattr(_common, "_wait_once", look)
    with served(stream, streams) as address:
        pool = ChannelPool(lambda options: grpc.insecure_channel(address, options), streams)
        # Those on the first channel are read on their readers' threads.
        leases = [pool.acquire() for _ in range(2 * streams)][streams:]
        calls: list[Any] = [lease.channel.unary_stream("/spanner/read")(b"") for lease in leases]
        for call in calls:
            assert next(call) == b"first"
        with ThreadPoolExecutor(streams) as readers:
            looks.clear()
            ends = [readers.submit(next, call, None) for call in calls]
            assert soon(lambda: len(looks) >= streams)  # all wait
            time.sleep(1)
            over.set()
            assert [end.result(60) for end in ends] == [None] * streams
        pool.close()
    assert streams <= len(looks) <= 4 * streams


@contextmanager
def served(
    stream: Callable[[bytes, grpc.ServicerContext], Iterator[bytes]], threads: int = 1
) -> Iterator[str]:
    """The address of a server that answers every request with `stream`."""

    class Server(grpc.GenericRpcHandler):
        def service(self, _: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
            return grpc.unary_stream_rpc_method_handler(stream)

    with ThreadPoolExecutor(threads) as pool:
        server = grpc.server(pool, [Server()])
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        yield f"127.0.0.1:{port}"
        server.stop(0).wait()
