"""Tells a web service of every change, with as many workers as are started: each change goes to one of them.

    python work_queue.py WORK GROUP URL

    python work_queue.py tcp://127.0.0.1:5580 webhooks http://127.0.0.1:8080/changes

The changes of one row are told in order. One that the service refuses is told again, and after the group's
max_deliveries goes to the dead letters. At least once: the service drops repetitions by Idempotency-Key.
"""

from __future__ import annotations

import contextlib
import sys
import urllib.error
import urllib.request

from spanwire import Change, Member


def main(work: str, group: str, url: str) -> None:
    """Work until interrupted. A change is handled once the next one is asked for."""
    with Member(work, group) as member:
        for change in member:
            try:
                tell(url, change)
            except urllib.error.HTTPError as error:
                member.reject(f"HTTP {error.code}")
            except (urllib.error.URLError, TimeoutError):
                member.reject("the service does not answer")


def tell(url: str, change: Change) -> None:
    """POST one change in its canonical form; an error unless the service takes it."""
    request = urllib.request.Request(  # noqa: S310 (the address is whatever its user gives)
        url,
        data=change.canonical().encode(),
        headers={"Content-Type": "application/json", "Idempotency-Key": str(change.version)},
    )
    with urllib.request.urlopen(request, timeout=10):  # noqa: S310
        pass


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    with contextlib.suppress(KeyboardInterrupt):
        main(*sys.argv[1:])
