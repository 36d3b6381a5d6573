"""A consumer of the demo, in a process of its own: writes down what it is handed.

Says {"ready": true} once it would notice a loss, then {"delivered": n} a few times a second. Told
{"expect": n} on stdin, it ends when it has so many changes, or when nothing has come for a while:
{"done": n, "gaps": […], "last_at": <Unix time of the last change>}.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path
from typing import Any, TextIO

from spanwire.consumer import Subscriber
from spanwire.errors import Gap

_QUIET_S = 10.0
"""Nothing for so long means that nothing more will come."""


def main(endpoint: str, path: str) -> None:
    """Consume from the endpoint into the history file."""
    gaps: list[str] = []
    expected: list[int] = []
    threading.Thread(target=_commands, args=(expected,), daemon=True).start()
    with (
        Subscriber(endpoint, on_gap=lambda gap: _note(gaps, gap), receive_high_water_mark=0) as subscriber,
        Path(path).open("w", encoding="utf-8", newline="\n") as file,
    ):
        if not subscriber.wait_joined(30.0):
            _say({"error": "no tick from the relay in 30 s"})
            return
        _say({"ready": True})
        done = _consume(subscriber, file, expected)
    # Only now, with the file complete: whoever hears it may end this process.
    _say(done | {"gaps": gaps})


def _consume(subscriber: Subscriber, file: TextIO, expected: list[int]) -> dict[str, Any]:
    delivered, last_at, said = 0, time.time(), 0.0
    while not expected or (delivered < expected[0] and time.time() - last_at < _QUIET_S):
        changes = subscriber.receive(0.1)
        if changes:
            file.writelines(f"{change.canonical()}\n" for change in changes)
            delivered += len(changes)
            last_at = time.time()
        if time.monotonic() - said > 0.1:
            said = time.monotonic()
            _say({"delivered": delivered})
    # Whatever is still on its way now would be one too many: a duplicate, or an invention.
    for change in subscriber.receive(0.5):
        file.write(f"{change.canonical()}\n")
        delivered += 1
    return {"done": delivered, "last_at": last_at}


def _commands(expected: list[int]) -> None:
    for line in sys.stdin:
        expected.append(int(json.loads(line)["expect"]))
    if not expected:
        # Whoever started this has gone.
        expected.append(0)


def _note(gaps: list[str], gap: Gap) -> None:
    gaps.append(str(gap))


def _say(answer: dict[str, Any]) -> None:
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
