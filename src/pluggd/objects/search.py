# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Whether an object is alive: an exact search upward, from it to a live root.

Liveness has two strengths. FULL: a path on which nothing is flat; what the object
refers to lives as well. FLAT: every path goes through a flat node (a flat lease);
below it only structural edges are followed. The search asks for one strength at a
time: which keepers would give it, and whether one of them has it.

Costs grow with what lies above the object, never with the store: a path to a
root is usually three steps, and a dead object has only dead ones above it. What a
search found to be dead is remembered as long as nothing was added in between.
"""

from __future__ import annotations

from enum import Enum
from itertools import islice

from pluggd.objects.graph import STRUCTURAL, GraphView, Row

_BLOCK = 8
"""Keepers that are looked at before going deeper: a base layer has thousands, and
the first is usually enough."""


class Life(Enum):
    DEAD = 0
    FLAT = 1
    FULL = 2


State = tuple[bytes, bool]
"""An id, and whether FULL is asked for (else any strength)."""

Step = tuple[bytes, int]
"""An id, and the kind of the edge by which the step before it keeps it (0: none)."""


class Search:
    """Searches in one state of the graph. `forget` after changes that add support."""

    def __init__(self, graph: GraphView) -> None:
        self._graph = graph
        self._barren: set[State] = set()
        self._met_flat = False
        self.examined = 0

    def forget(self) -> None:
        self._barren.clear()

    def life(self, id_: bytes) -> Life:
        self._met_flat = False
        if self._path((id_, True)) is not None:
            return Life.FULL
        if not self._met_flat:
            return Life.DEAD
        return Life.FLAT if self._path((id_, False)) is not None else Life.DEAD

    def path(self, id_: bytes) -> list[Step] | None:
        """From a live root down to this node, or None."""
        return self._path((id_, True)) or self._path((id_, False))

    def _path(self, goal: State) -> list[Step] | None:
        """Depth first, keepers in blocks; all that was visited is barren if it fails."""
        row = self._graph.row(goal[0])
        if row is None or not row.exists or self._is_barren(goal):
            return None
        came_from: dict[State, tuple[State | None, int]] = {goal: (None, 0)}
        if self._is_root(row):
            return _unwind(came_from, goal)
        stack: list[tuple[State, bytes]] = [(goal, b"")]
        while stack:
            state, after = stack.pop()
            id_, full = state
            block = list(islice(self._graph.keepers(id_, after), _BLOCK))
            if len(block) == _BLOCK:
                stack.append((state, block[-1][0]))
            for _, keeper, kind in block:
                above = self._graph.row(keeper)
                self.examined += 1
                if above is None or not above.exists:
                    continue
                if full and above.flat:
                    self._met_flat = True
                    continue
                ask = (keeper, full or not kind & STRUCTURAL)
                if ask in came_from or self._is_barren(ask):
                    continue
                came_from[ask] = (state, kind)
                if self._is_root(above):
                    return _unwind(came_from, ask)
                stack.append((ask, b""))
        self._barren.update(came_from)
        if not self._met_flat:
            # Nothing flat above: whatever has no FULL support has none at all.
            self._barren.update((id_, False) for id_, _ in came_from)
        return None

    def _is_root(self, row: Row) -> bool:
        return row.is_root(self._graph.now)

    def _is_barren(self, state: State) -> bool:
        id_, full = state
        if (id_, False) in self._barren:
            return True
        if full and state in self._barren:
            # Something flat above was the reason, or may have been.
            self._met_flat = True
            return True
        return False


def _unwind(
    came_from: dict[State, tuple[State | None, int]], root: State
) -> list[Step]:
    steps: list[Step] = [(root[0], 0)]
    state: State | None = root
    while state is not None:
        below, kind = came_from[state]
        if below is not None:
            steps.append((below[0], kind))
        state = below
    return steps
