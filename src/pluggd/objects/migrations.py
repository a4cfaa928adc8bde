# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""How tables of an older form become those of `tables.py`.

Functions over a transaction, for a provider that has kept such tables; each is one
step from a version to the next and is never edited after a release. They name the
tables and the keys of their time themselves, for those of today may change again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice

from pluggd.errors import DataLoss, FailedPrecondition
from pluggd.objects.kv import KV

_BLOCK = 1000

Pair = tuple[bytes, bytes]


def gather_graph(kv: KV) -> None:
    """Version 1 to 2: eight tables of the graph and its counters become one.

    The old tables stay behind, empty. Raises DataLoss for an edge of an unknown form.
    """
    for table, convert in _VERSION_1.items():
        for key, value in _taken(kv, table):
            kv.put("objects.graph", *convert(key, value))


def hold_small_blobs(kv: KV) -> None:
    """Version 2 to 3: records of the content store may hold the bytes of their blob.

    Nothing is to be done. But a program of version 2 that counted a reference to such a
    record would write it back without them.
    """
    del kv


def _taken(kv: KV, table: str) -> Iterator[Pair]:
    """All pairs of a table, which is emptied meanwhile; none if there is no such table."""
    try:
        pairs = kv.seek(table, b"")
    except FailedPrecondition:
        # The file is from before that table.
        return
    while block := list(islice(pairs, _BLOCK)):
        for pair in block:
            yield pair
            kv.delete(table, pair[0])
        pairs = kv.seek(table, b"")


def _behind(front: bytes) -> Callable[[bytes, bytes], Pair]:
    return lambda key, value: (front + key, value)


def _edge(side: int) -> Callable[[bytes, bytes], Pair]:
    def convert(key: bytes, value: bytes) -> Pair:
        if len(key) != 17 or key[8] > 7:
            raise DataLoss(
                f"metadata: {key.hex()} is not the key of an edge: restore a backup"
            )
        return b"\xff" + key[:8] + bytes((key[8] | side,)) + key[9:], value

    return convert


_VERSION_1: dict[str, Callable[[bytes, bytes], Pair]] = {
    "objects.node_ids": _behind(b""),
    "objects.state": _behind(b"\xf8"),
    "objects.gained": _behind(b"\xf9"),
    "objects.expiry": _behind(b"\xfa"),
    "objects.sequences": _behind(b"\xfb"),
    "objects.nodes": _behind(b"\xff"),
    "objects.edges_in": _edge(0),
    "objects.edges_out": _edge(8),
}
