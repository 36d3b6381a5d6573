"""A proxy between a pub output and its subscribers that loses what it is told to lose."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

import zmq

from spanwire._core import Message


class LossyProxy:
    """Passes messages on, but those for which `lose` says so; keeps what it lost in `lost`."""

    def __init__(self, upstream: str, lose: Callable[[Message], bool] | None = None) -> None:
        self.lose = lose or (lambda _: False)
        self.lost: list[Message] = []
        context = zmq.Context.instance()
        self._upstream = context.socket(zmq.SUB)
        self._upstream.linger = 0
        self._upstream.subscribe(b"")
        self._upstream.connect(upstream)
        self._downstream = context.socket(zmq.PUB)
        self._downstream.linger = 0
        self.endpoint = f"tcp://127.0.0.1:{self._downstream.bind_to_random_port('tcp://127.0.0.1')}"
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            if not self._upstream.poll(20):
                continue
            frames = self._upstream.recv_multipart()
            message = Message.decode(frames)
            if self.lose(message):
                self.lost.append(message)
            else:
                self._downstream.send_multipart(frames)
        self._upstream.close()
        self._downstream.close()

    def __enter__(self) -> Self:
        """It runs from construction on."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it."""
        self._stop.set()
        self._thread.join()
