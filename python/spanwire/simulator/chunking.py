"""Cutting a value into pieces that go out in several messages, and the rule that joins them again.

The rule is Spanner's (google.spanner.v1.PartialResultSet, `chunked_value`): strings are
concatenated; lists are concatenated, their touching elements joined by the same rule where both
are strings or lists; null, bool and number stand as they are.
"""

from __future__ import annotations

import random
import zlib
from dataclasses import dataclass

from spanwire.simulator.protobuf import Tree, decode, encode


@dataclass(frozen=True, slots=True)
class Chunking:
    """Where values are cut, all of it decided by the seed.

    A row larger than `limit` bytes is cut into pieces of about that size; of the smaller ones, one in
    `chop` (0: none) is cut at one arbitrary place: within a string, between or within lists.
    """

    limit: int
    chop: int
    seed: int

    def pieces(self, row: bytes, partition: str, number: int) -> list[bytes]:
        """The encoded Value as one piece or more. The same row of the same log is always cut alike."""
        name = f"{self.seed}/{partition}/{number}"
        if len(row) > self.limit:
            return self._to_size(row, random.Random(name))  # noqa: S311
        # A checksum decides whether: a generator for every row would take longer than the row.
        if not self.chop or zlib.crc32(name.encode()) % self.chop:
            return [row]
        rng = random.Random(name)  # noqa: S311
        tree = decode(row)
        head, tail = cut(tree, rng.randrange(size(tree) + 1))
        return [encode(head), encode(tail)]

    def _to_size(self, row: bytes, rng: random.Random) -> list[bytes]:
        pieces = []
        rest = decode(row)
        while size(rest) > self.limit:
            # Not always the same size, so that cuts fall at arbitrary places; never none at all.
            head, rest = cut(rest, rng.randint(max(1, self.limit // 2), self.limit))
            pieces.append(encode(head))
        pieces.append(encode(rest))
        return pieces


def cut(tree: Tree, at: int) -> tuple[Tree, Tree]:
    """Cut a string or list so that about `at` characters and scalars stand before the cut.

    Either side may be empty where the cut falls on an edge. Anything else cannot be cut: TypeError.
    """
    if isinstance(tree, str):
        return tree[:at], tree[at:]
    if not isinstance(tree, list):
        raise TypeError("only strings and lists can be cut")
    for place, one in enumerate(tree):
        taken = size(one)
        if at > taken:
            at -= taken
            continue
        if isinstance(one, str | list):
            head, tail = cut(one, max(at - 1, 0))
            return [*tree[:place], head], [tail, *tree[place + 1 :]]
        return tree[: place + 1], tree[place + 1 :]
    return tree, []


def join(head: Tree, tail: Tree) -> Tree:
    """The value that two pieces make."""
    if isinstance(head, str) and isinstance(tail, str):
        return head + tail
    if isinstance(head, list) and isinstance(tail, list):
        if head and tail and _joins(head[-1], tail[0]):
            return [*head[:-1], join(head[-1], tail[0]), *tail[1:]]
        return head + tail
    raise ValueError("pieces of different kinds")


def _joins(left: Tree, right: Tree) -> bool:
    return (isinstance(left, str) and isinstance(right, str)) or (
        isinstance(left, list) and isinstance(right, list)
    )


def size(tree: Tree) -> int:
    """Characters and scalars in it; every string and list counts one for itself."""
    if isinstance(tree, str):
        return 1 + len(tree)
    if isinstance(tree, list):
        return 1 + sum(size(one) for one in tree)
    return 1
