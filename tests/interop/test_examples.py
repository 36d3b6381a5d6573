"""What `examples/` holds runs, and prints the changes of a relay."""

from __future__ import annotations

import time
from itertools import count

import pytest
from interop.consumers import EXAMPLES, LANGUAGES, consumers
from support.change_records import data_change, message

from spanwire._core import Output, Pipeline, Timestamp


@pytest.mark.parametrize("values", ["typed", "json"])
def test_examples_print_changes(values: str) -> None:
    """Version, table and key of each change, whatever form its values have."""
    output = Output("pub", ["tcp://127.0.0.1:*"], values=values)  # type: ignore[arg-type]
    with Pipeline("shop", "all", [output], options={"tick_ms": 20}) as pipeline:
        partition = pipeline.partition("token", dialect="googlesql", epoch=1, start=Timestamp(0))
        [[endpoint]] = pipeline.endpoints
        commands = [(*EXAMPLES[language], endpoint, "shop/all/") for language in LANGUAGES]
        with consumers(commands) as running:
            until = time.monotonic() + 150
            # An example does not say when it has joined: changes until each has printed some.
            for number in count():
                if all(one.out.count(b"\n") >= 3 for one in running) or time.monotonic() > until:
                    break
                mods = [({"Id": "5"}, {"Name": "n"}, {})]
                stamp = f"2026-11-23T{number // 3600:02}:{number // 60 % 60:02}:{number % 60:02}Z"
                partition.push([message(data_change(stamp, mods))])
                time.sleep(0.02)
            for language, one in zip(LANGUAGES, running, strict=True):
                lines = one.out.decode().splitlines()
                assert len(lines) >= 3, f"{language}: {one.err.decode()}"
                for line in lines[:3]:
                    assert "/tx/00000000/0" in line, language
                    assert "orders" in line, language
                    assert "Id" in line, language
                    assert "5" in line, language
