"""Writes down what one relay's processes send through one endpoint: `sent-<relay>.jsonl`."""

from __future__ import annotations

import threading
from pathlib import Path
from types import TracebackType
from typing import Self

import zmq

from spanwire._core import Message
from spanwire.history.lines import Flow, Positions


class Tap:
    """Hears everything, without a bound of its own, until it is closed."""

    def __init__(self, endpoint: str, history: Path) -> None:
        self._history = history
        self._socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.SUB)
        for option, value in ((zmq.LINGER, 0), (zmq.RCVHWM, 0), (zmq.RECONNECT_IVL, 20)):
            self._socket.setsockopt(option, value)
        self._socket.setsockopt(zmq.SUBSCRIBE, b"")
        self._socket.connect(endpoint)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="tap", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._socket.close()

    def _listen(self) -> None:
        with self._history.open("w", encoding="utf-8", newline="\n") as out:
            while not self._stop.is_set():
                if self._socket.poll(50):
                    message = Message.decode(self._socket.recv_multipart())
                    out.writelines(f"{line}\n" for line in _lines(message))


def _lines(message: Message) -> list[str]:
    if message.kind == "tick":
        told = [
            (one["id"].hex(), one["epoch"], str(one["position"]))
            for one in message.tick()["partitions"]
            if one["position"] is not None
        ]
        return [Positions(message.incarnation, tuple(told)).line()]
    if message.kind != "changes":
        return []
    flow = Flow(
        message.incarnation,
        message.output,
        message.partition.hex(),
        message.epoch,
        message.topic,
        message.sequence,
    )
    return [flow.line(), *(change.canonical() for change in message.changes())]
