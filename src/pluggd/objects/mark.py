# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The full mark: everything that live roots reach, from the roots down.

The check on the candidates: whatever this does not reach and collection did not
find is the trace of a bug or of damage. A pure function over one consistent state,
so that a provider can run it in another process; it costs about a microsecond per
row and one byte of memory per id. Its result is a list of suspects, not a verdict.
"""

from __future__ import annotations

from pluggd.model.record import Record
from pluggd.objects.graph import Graph
from pluggd.objects.graph_view import STRUCTURAL, Row, next_key, unpack_row
from pluggd.objects.kv import ReadKV
from pluggd.objects.tables import EDGES_IN, EDGES_OUT, NODES

_FLAT = 1
_FULL = 2


class MarkResult(Record, frozen=True):
    """What a mark found; `encode` and `decode` carry it between processes.

    unreached: ids of existing nodes that no root reaches.
    broken: keys of EDGES_OUT whose edge is missing there or in EDGES_IN.
    reached: how many are.
    """

    unreached: list[bytes] = []
    broken: list[bytes] = []
    reached: int = 0


def mark(kv: ReadKV, now: int) -> MarkResult:
    """Mark from the roots of this state and compare the two ends of every edge."""
    last = kv.last(NODES)
    size = 0 if last is None else int.from_bytes(last[0], "big") + 1
    marks = bytearray(size)
    flat = bytearray(size)
    existing = bytearray(size)
    stack: list[tuple[bytes, int]] = []
    for id_, data in kv.seek(NODES, b""):
        row: Row = unpack_row(data)
        if not row.exists:
            continue
        number = int.from_bytes(id_, "big")
        existing[number] = 1
        flat[number] = row.flat
        if row.is_root(now):
            marks[number] = _FULL
            stack.append((id_, _FULL))
    while stack:
        id_, strength = stack.pop()
        number = int.from_bytes(id_, "big")
        if marks[number] > strength:
            continue
        below = _FLAT if flat[number] else strength
        for key, _ in kv.seek(EDGES_OUT, id_, next_key(id_)):
            if strength == _FLAT and not key[8] & STRUCTURAL:
                continue
            kept = int.from_bytes(key[9:], "big")
            if kept < size and existing[kept] and marks[kept] < below:
                marks[kept] = below
                stack.append((key[9:], below))
    unreached = [
        number.to_bytes(8, "big")
        for number in range(size)
        if existing[number] and not marks[number]
    ]
    return MarkResult(
        unreached=unreached,
        broken=_broken(kv),
        reached=sum(existing) - len(unreached),
    )


def _broken(kv: ReadKV) -> list[bytes]:
    broken = [
        key
        for key, _ in kv.seek(EDGES_OUT, b"")
        if kv.get(EDGES_IN, key[9:] + key[8:9] + key[:8]) is None
    ]
    for key, _ in kv.seek(EDGES_IN, b""):
        twin = key[9:] + key[8:9] + key[:8]
        if kv.get(EDGES_OUT, twin) is None:
            broken.append(twin)
    return broken


def repair(graph: Graph, edge: bytes) -> None:
    """Complete an edge of which one end is missing, if that is still so.

    Completed rather than removed: an edge too many keeps garbage, one too few loses
    data.
    """
    graph.complete_edge(edge[:8], edge[8], edge[9:])
