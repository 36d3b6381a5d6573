"""Builds the consumers of every language, and compares them: `make interop`.

Each needs its language's tools. What comes from Debian's packages is installed where that is possible
(root, apt-get); everything else comes from the language's own registry, pinned by its lock file.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
EXAMPLES = ROOT / "examples"
BUILT = ROOT / "target" / "interop"


def has_program(name: str) -> bool:
    """Whether a program is there to be called."""
    return shutil.which(name) is not None


def has_library(name: str) -> bool:
    """Whether pkg-config knows a library."""
    return has_program("pkg-config") and not subprocess.call(["pkg-config", "--exists", name])


PACKAGES: dict[str, Callable[[], bool]] = {
    "pkg-config": partial(has_program, "pkg-config"),
    "capnproto": partial(has_program, "capnp"),
    "libzmq3-dev": partial(has_library, "libzmq"),
    "libcapnp-dev": partial(has_library, "capnp"),
    "cppzmq-dev": partial(has_library, "cppzmq"),
}
"""Debian's packages, and whether what they bring is there."""


@dataclass(frozen=True)
class Language:
    """What a language's consumer takes."""

    tools: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    steps: tuple[tuple[Path, tuple[str, ...]], ...] = ()
    """Commands that build consumer and example, each with the folder it runs in."""


_CARGO = ("cargo", "build", "--quiet", "--locked", "--target-dir", str(BUILT / "rust"))
_NPM = ("npm", "ci", "--silent", "--ignore-scripts")
LANGUAGES = {
    "python": Language(),
    "go": Language(
        ("go", "cc"),
        ("pkg-config", "capnproto", "libzmq3-dev"),
        (
            (EXAMPLES / "go", ("./generate",)),
            (EXAMPLES / "go", ("go", "build", "-o", str(BUILT / "go" / "example"), ".")),
            (HERE / "go", ("go", "build", "-o", str(BUILT / "go" / "consume"), ".")),
        ),
    ),
    "cpp": Language(
        ("c++", "make"),
        ("pkg-config", "capnproto", "libcapnp-dev", "libzmq3-dev", "cppzmq-dev"),
        ((HERE / "cpp", ("make", "--silent", "-j2")),),
    ),
    "node": Language(
        ("node", "npm"),
        ("capnproto",),
        (
            (EXAMPLES / "node", _NPM),
            (EXAMPLES / "node", ("npm", "run", "--silent", "generate")),
            (HERE / "node", _NPM),
            (EXAMPLES / "node", ("cp", "envelope.js", str(HERE / "node"))),
        ),
    ),
    "java": Language(("java", "javac", "mvn"), (), ((HERE / "java", ("./build",)),)),
    "rust": Language(
        ("cargo", "c++"), ("capnproto",), ((HERE / "rust", _CARGO), (EXAMPLES / "rust", _CARGO))
    ),
}


def main() -> int:
    """0 where all that ran agree."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--available", action="store_true", help="leave out languages whose tools are missing"
    )
    parser.add_argument("languages", nargs="*", help=f"some of {', '.join(LANGUAGES)}; all by default")
    arguments = parser.parse_args()
    if unknown := set(arguments.languages) - set(LANGUAGES):
        return _refuse(f"{', '.join(sorted(unknown))}: choose from {', '.join(LANGUAGES)}")
    wanted = {name: LANGUAGES[name] for name in arguments.languages or LANGUAGES}
    _install({package for one in wanted.values() if not _missing_tools(one) for package in one.packages})
    missing = {name: lacks for name, one in wanted.items() if (lacks := _missing(one))}
    for name, lacks in missing.items():
        print(f"left out: the {name} consumer (no {', '.join(lacks)} here)", flush=True)
    if missing and not arguments.available:
        return _refuse("install what is missing, or leave it out with --available")
    running = [name for name in wanted if name not in missing]
    for name in running:
        began = time.monotonic()
        for folder, command in wanted[name].steps:
            subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
        print(f"built: the {name} consumer in {time.monotonic() - began:.0f} s", flush=True)
    environment = {**os.environ, "SPANWIRE_INTEROP": ",".join(running)}
    return subprocess.call([sys.executable, "-m", "pytest", "-q", str(HERE)], env=environment)


def _missing_tools(language: Language) -> list[str]:
    return [tool for tool in language.tools if not has_program(tool)]


def _missing(language: Language) -> list[str]:
    return _missing_tools(language) + [package for package in language.packages if not PACKAGES[package]()]


def _install(packages: set[str]) -> None:
    """From Debian, where this may be done; what is missing afterwards is told."""
    missing = sorted(package for package in packages if not PACKAGES[package]())
    if missing and has_program("apt-get") and os.geteuid() == 0:
        print(f"installing: {' '.join(missing)}", flush=True)
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        install = ["apt-get", "install", "-qq", "--yes", "--no-install-recommends", *missing]
        for command in (["apt-get", "update", "-qq"], install):
            subprocess.call(command, env=environment, stdout=subprocess.DEVNULL)


def _refuse(why: str) -> int:
    print(f"interop: {why}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    try:
        sys.exit(main())
    except subprocess.CalledProcessError as failed:
        sys.exit(f"interop: {' '.join(map(str, failed.cmd))} failed with exit code {failed.returncode}")
