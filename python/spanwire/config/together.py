"""What is wrong with settings taken together, as far as they are well formed one by one.

The models check each setting by itself. These rules read what was written, so that a problem in one setting
hides none in another.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import get_args

from spanwire.config.choice import choice_problems
from spanwire.config.endpoints import endpoint_problem, only_this_machine
from spanwire.config.group import GroupSettings, group_problems, with_buckets
from spanwire.config.models import REPLAY_ONLY, Kind, OutputConfig
from spanwire.config.section import Problem, Settings, sections, texts

_ONE_ENDPOINT = ("feed", "replay", "group")


def problems(settings: Settings) -> Iterator[Problem]:
    """What is wrong in a whole file, beside what is wrong with single settings."""
    outputs = sections(settings.get("output"))
    kinds = [given.get("kind") for _, given in outputs]
    if kinds and all(kind == "replay" for kind in kinds):
        lacks = 'one of kind "replay" alone sends nothing; add a "pub", "push", "feed" or "group"'
        yield ("output",), lacks
    for number, given in outputs:
        for place, problem in _of_one(given):
            yield ("output", number, *place), problem
    yield from _names(outputs)
    security = settings.get("security")
    yield from _bindings(outputs, insist=isinstance(security, dict) and security.get("insist") is True)


def _of_one(given: Settings) -> Iterator[Problem]:
    """One output's."""
    kind = given.get("kind")
    if isinstance(kind, str) and kind in get_args(Kind):
        yield from _misplaced(given, kind)
    if kind == "group":
        yield from group_problems(given)
        given = with_buckets(dict(given))
    if kind != "replay":
        yield from choice_problems(given)


def _misplaced(given: Settings, kind: str) -> Iterator[Problem]:
    """Settings that say nothing for this kind of output."""
    endpoints = texts(given.get("bind"))
    if kind in _ONE_ENDPOINT and len(endpoints) > 1:
        yield ("bind",), f'kind = "{kind}" has one endpoint, these are {len(endpoints)}; keep one of them'
    for name, field in OutputConfig.model_fields.items():
        if name not in given or given[name] == field.get_default():
            continue  # a default that is written out changes nothing
        if kind == "replay" and name not in {"kind", "bind", "connections", *REPLAY_ONLY}:
            yield (name,), 'does not go with kind = "replay", which has none; leave it out'
        elif kind != "replay" and name in REPLAY_ONLY:
            yield (name,), 'goes with kind = "replay"; leave it out'
        elif name == "connections" and kind not in ("feed", "replay"):
            yield (name,), 'goes with kind = "feed" or "replay"; leave it out'
        elif name == "ring_bytes" and kind not in ("pub", "feed", "group"):
            yield (name,), 'goes with kind = "pub", "feed" or "group"; leave it out'
        elif name == "on_full" and kind in ("feed", "group"):
            yield (name,), f'does not go with kind = "{kind}", which never holds the others; leave it out'
        elif kind not in ("group", "replay") and name in GroupSettings.model_fields:
            yield (name,), 'goes with kind = "group"; leave it out'


def _names(outputs: Sequence[tuple[int, Settings]]) -> Iterator[Problem]:
    """Groups that have one name."""
    seen: dict[str, int] = {}
    for number, given in outputs:
        name = given.get("name")
        if given.get("kind") != "group" or not isinstance(name, str) or not name:
            continue
        first = seen.setdefault(name, number)
        if first != number:
            place = ("output", number, "name")
            yield place, f'"{name}" is also the name of output[{first}]; give each group its own'


def _bindings(outputs: Sequence[tuple[int, Settings]], *, insist: bool) -> Iterator[Problem]:
    """Endpoints that others can reach, or that are bound twice."""
    seen: dict[str, int] = {}
    for number, given in outputs:
        place = ("output", number, "bind")
        for endpoint in texts(given.get("bind")):
            if endpoint_problem(endpoint):
                continue
            if not insist and not only_this_machine(endpoint):
                yield (
                    place,
                    f'"{endpoint}" can be reached from other machines with security.mode "none"; '
                    "bind to 127.0.0.1, or set security.insist = true",
                )
            if endpoint in seen and not endpoint.endswith((":*", ":0")):
                yield place, f'"{endpoint}" is also bound by output[{seen[endpoint]}]; use another port'
            seen.setdefault(endpoint, number)
