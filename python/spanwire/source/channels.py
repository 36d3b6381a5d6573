"""Connections to Spanner. One carries about 100 streams; the 101st would wait for ever without a word."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

import grpc
from grpc import _common
from grpc.experimental import ChannelOptions

Options = list[tuple[str, object]]
MakeChannel = Callable[[Options], grpc.Channel]

STREAM_BYTES = 1 << 20
"""What Spanner may send ahead of a stream's reader. Over a round trip of 100 ms that is 10 MiB a second."""

OPTIONS: Options = [
    # Records have no size limit of their own: a transaction's rows come as one.
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # As the official client does; silence within a stream is noticed by its heartbeats.
    ("grpc.keepalive_time_ms", 120_000),
    # Otherwise all channels to one address share one connection, and its limit of streams.
    ("grpc.use_local_subchannel_pool", 1),
    # Left to itself gRPC reads ahead ever further, tens of MiB a stream, the longer a reader waits for its
    # output. A message larger than this comes all the same.
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.lookahead_bytes", STREAM_BYTES),
    # A message larger than the 16 KiB of a frame comes in fewer of them: a tenth less work.
    ("grpc.http2.max_frame_size", STREAM_BYTES),
]
OWN_THREAD: Options = [(ChannelOptions.SingleThreadedUnaryStream, 1)]
"""A stream is read on its reader's thread: a quarter less work per message. But gRPC wakes each such thread
five times a second, whether anything comes or not: a thousand of them take a tenth of a core for nothing."""
_OWN_THREAD_STREAMS = 32
"""So many streams are read like that, on a channel of theirs. Of more, most are idle at any time."""


@dataclass(eq=False)
class Lease:
    """Room for one stream on a channel; give it back with `ChannelPool.release`."""

    channel: grpc.Channel
    number: int
    """Which channel of the pool this is, from 1."""


@dataclass(eq=False)
class _Pooled:
    channel: grpc.Channel
    number: int
    most: int
    """Streams that it takes."""
    own_thread: bool
    streams: int = 0


class ChannelPool:
    """Channels that grow and shrink with the number of streams. Thread-safe."""

    def __init__(self, make: MakeChannel, streams_per_channel: int) -> None:
        self._make = make
        self._most = streams_per_channel
        self._lock = threading.Lock()
        self._channels: list[_Pooled] = []
        self._made = 0
        self._closed = False
        # Where a channel's thread wakes its readers, gRPC has each of them look ten times a second whether
        # Python has a signal to deal with. Waiting for a lock sees signals by itself (grpc/grpc#19464 is
        # about Python 2). This is for the whole process.
        _common.MAXIMUM_WAIT_TIMEOUT = 60.0

    def __len__(self) -> int:
        """How many channels are open."""
        return len(self._channels)

    def acquire(self) -> Lease:
        """Room for one stream: where it costs least, else on the fullest, so that others can close."""
        with self._lock:
            if self._closed:
                raise ValueError("the channel pool is closed")
            free = [one for one in self._channels if one.streams < one.most]
            if free:
                chosen = max(free, key=lambda one: (one.own_thread, one.streams))
            else:
                chosen = self._open()
                self._channels.append(chosen)
            chosen.streams += 1
            return Lease(chosen.channel, chosen.number)

    def _open(self) -> _Pooled:
        self._made += 1
        if self._channels:
            return _Pooled(self._make(OPTIONS), self._made, self._most, own_thread=False)
        most = min(_OWN_THREAD_STREAMS, self._most)
        return _Pooled(self._make([*OPTIONS, *OWN_THREAD]), self._made, most, own_thread=True)

    def release(self, lease: Lease) -> None:
        """Give room back. The first channel stays open for the next stream."""
        with self._lock:
            held = next((one for one in self._channels if one.channel is lease.channel), None)
            if held is None:
                return
            held.streams -= 1
            if held.streams > 0 or held.own_thread:
                return
            self._channels.remove(held)
        held.channel.close()

    def close(self) -> None:
        """Close all channels; streams on them end as cancelled."""
        with self._lock:
            self._closed = True
            channels, self._channels = self._channels, []
        for one in channels:
            one.channel.close()
