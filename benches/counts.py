"""Counts the instructions that the core takes for a change, and compares them with those of the last commit.

Unlike a time, a count is the same on every run: a busy machine does not hide what makes the core slower.
Each case of `benches/rust/src/bin/counts` runs under callgrind, which counts what happens inside `measured`.
Method and figures: benches/README.md.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
COMMITTED = Path(__file__).with_name("counts.toml")
PROGRAM = ROOT / "target/release/counts"
BOUND = 0.05
"""A count may be greater by this part of the committed one."""

HEAD = """\
# Instructions that the core takes for a change. `make counts` compares, `make counts-write` writes this file.
"""


@dataclass(frozen=True, slots=True)
class Build:
    """What a count depends on besides the core's source."""

    rustc: str
    target: str
    libc: str
    vectors: str
    """What valgrind shows of the processor: copies and searches take the widest."""


@dataclass(frozen=True, slots=True)
class Row:
    """A case: instructions per change, as committed and as counted now."""

    case: str
    committed: float | None
    counted: float | None

    @property
    def change(self) -> float | None:
        """0.05: five percent more than committed."""
        if not self.committed or self.counted is None:
            return None
        return self.counted / self.committed - 1

    @property
    def verdict(self) -> str:
        """What is to be said of it; empty where it is as committed."""
        if self.counted is None:
            return "gone: make counts-write"
        if self.change is None:
            return "new: make counts-write"
        if self.change > BOUND:
            return "MORE"
        return "fewer: make counts-write" if self.change < -BOUND else ""


def main() -> int:
    """0: as committed or fewer, or not comparable; 1: more; 2: cannot count."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="write counts.toml instead of comparing with it")
    parser.add_argument("--json", action="store_true", help="one line of JSON instead of a table")
    options = parser.parse_args()
    try:
        build = compile_program()
        counted = count_all()
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"cannot count: {error}; it takes cargo and valgrind", file=sys.stderr)
        return 2
    committed_build, committed = read(COMMITTED)
    cases = list(dict.fromkeys([*counted, *committed]))
    rows = [Row(case, committed.get(case), counted.get(case)) for case in cases]
    comparable = committed_build == build
    print(_line(rows, build, comparable) if options.json else table(rows))
    if options.write:
        write(COMMITTED, build, counted)
        return 0
    if not comparable:
        print(
            f"not judged: counted with {_words(build)}, committed with {_words(committed_build)}",
            file=sys.stderr,
        )
        return 0
    return int(any(row.verdict == "MORE" for row in rows))


def compile_program() -> Build:
    """Builds what is measured; with what it was built."""
    command = [
        "cargo",
        "build",
        "--release",
        "--locked",
        "--quiet",
        "-p",
        "spanwire-benches",
        "--bin",
        "counts",
    ]
    subprocess.run(command, cwd=ROOT, check=True)
    told = subprocess.run(["rustc", "-vV"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    fields = dict(line.split(": ", 1) for line in told.splitlines() if ": " in line)
    processor = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    vectors = "avx2" if re.search(r"\bavx2\b", processor) else "none known"
    # Copying and allocating are the C library's.
    return Build(fields["release"], fields["host"], " ".join(platform.libc_ver()), vectors)


def count_all() -> dict[str, float]:
    """Instructions per change of each case."""
    listed = subprocess.run([PROGRAM], check=True, capture_output=True, text=True).stdout
    cases = listed.splitlines()
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(cases, pool.map(count, cases), strict=True))


def count(case: str) -> float:
    """Instructions per change of one case."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "callgrind.out"
        command = [
            "valgrind",
            "--tool=callgrind",
            "--quiet",
            f"--callgrind-out-file={out}",
            "--toggle-collect=counts::measured",
            str(PROGRAM),
            case,
        ]
        ran = subprocess.run(command, check=True, capture_output=True, text=True)
        found = re.search(r"^(?:totals|summary): (\d+)", out.read_text(encoding="utf-8"), re.MULTILINE)
    if found is None or found[1] == "0":
        raise OSError(f"callgrind counted nothing in {case!r}")
    return round(int(found[1]) / int(ran.stdout), 1)


def read(path: Path) -> tuple[Build | None, dict[str, float]]:
    """The committed counts, and what they were counted with; none where there is no file yet."""
    if not path.exists():
        return None, {}
    held: Mapping[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    return Build(**held["build"]), held["instructions"]


def write(path: Path, build: Build, counted: Mapping[str, float]) -> None:
    """Replaces the committed counts."""
    lines = [HEAD, "[build]", *(f"{name} = {json.dumps(text)}" for name, text in asdict(build).items())]
    lines += ["", "[instructions]", *(f"{json.dumps(case)} = {number}" for case, number in counted.items())]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def table(rows: list[Row]) -> str:
    """For people."""
    lines = [f"{'instructions per change':<42} {'committed':>10} {'now':>10} {'':>8}"]
    for row in rows:
        change = "" if row.change is None else f"{row.change:+.1%}"
        numbers = f"{_number(row.committed):>10} {_number(row.counted):>10} {change:>8}"
        lines.append(f"{row.case:<42} {numbers}  {row.verdict}")
    return "\n".join(line.rstrip() for line in lines)


def _line(rows: list[Row], build: Build, comparable: bool) -> str:
    cases = {row.case: asdict(row) | {"change": row.change, "verdict": row.verdict} for row in rows}
    return json.dumps({"build": asdict(build), "comparable": comparable, "bound": BOUND, "cases": cases})


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.1f}"


def _words(build: Build | None) -> str:
    return (
        "nothing" if build is None else ", ".join(("rustc " + build.rustc, *list(asdict(build).values())[1:]))
    )


if __name__ == "__main__":
    raise SystemExit(main())
