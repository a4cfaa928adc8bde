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
from pluggd.objects import rows
from pluggd.objects.graph import Graph
from pluggd.objects.graph_view import STRUCTURAL, Row, unpack_row
from pluggd.objects.kv import ReadKV
from pluggd.objects.tables import GRAPH

_FLAT = 1
_FULL = 2


class MarkResult(Record, frozen=True):
    """What a mark found; `encode` and `decode` carry it between processes.

    unreached: ids of existing nodes that no root reaches.
    broken: keys of edges (`rows.py`) whose other end is missing.
    reached: how many are.
    """

    unreached: list[bytes] = []
    broken: list[bytes] = []
    reached: int = 0


def mark(kv: ReadKV, now: int) -> MarkResult:
    """Mark from the roots of this state and compare the two ends of every edge."""
    size = rows.newest_id(kv) + 1
    marks = bytearray(size)
    flat = bytearray(size)
    existing = bytearray(size)
    stack: list[tuple[bytes, int]] = []
    broken: list[bytes] = []
    for key, data in kv.seek(GRAPH, rows.NODE):
        if len(key) != rows.NODE_KEY:
            twin = rows.twin(key)
            if kv.get(GRAPH, twin) is None:
                broken.append(key)
            continue
        row: Row = unpack_row(data)
        if not row.exists:
            continue
        id_ = key[1:]
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
        for key, _ in kv.seek(GRAPH, *rows.out_range(id_)):
            if strength == _FLAT and not key[rows.NODE_KEY] & STRUCTURAL:
                continue
            other = key[rows.OTHER :]
            kept = int.from_bytes(other, "big")
            if kept < size and existing[kept] and marks[kept] < below:
                marks[kept] = below
                stack.append((other, below))
    unreached = [
        number.to_bytes(8, "big")
        for number in range(size)
        if existing[number] and not marks[number]
    ]
    return MarkResult(
        unreached=unreached,
        broken=broken,
        reached=sum(existing) - len(unreached),
    )


def repair(graph: Graph, edge: bytes) -> None:
    """Complete an edge of which one end is missing, if that is still so.

    Completed rather than removed: an edge too many keeps garbage, one too few loses
    data.
    """
    graph.complete_edge(*rows.edge(edge))
