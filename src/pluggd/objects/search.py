# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Whether an object is alive: an exact search upward, from it to a live root.

Liveness has two strengths. FULL: a path on which nothing is flat; what the object
refers to lives as well. FLAT: every path goes through a flat node (a flat lease);
below it only structural edges are followed. The search asks for one strength at a
time: which keepers would give it, and whether one of them has it.

Costs grow with what lies above the object, never with the store: a path to a
root is usually three steps, and a dead object has only dead ones above it. What a
search found to be dead is remembered as long as nothing gave it support, so a heap
of garbage costs its size once, whatever its shape.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from itertools import islice
from time import perf_counter_ns

from pluggd.objects.graph_view import STRUCTURAL, GraphView

_BLOCK = 8
"""Keepers that are looked at before going deeper: a base layer has thousands, and
the first is usually enough."""

_MOST_BARREN = 500_000
"""States that are remembered: some 100 MB."""


class Life(Enum):
    DEAD = 0
    FLAT = 1
    FULL = 2


State = tuple[bytes, bool]
"""An id, and whether FULL is asked for (else any strength)."""

Step = tuple[bytes, int]
"""An id, and the kind of the edge by which the step before it keeps it (0: none)."""


class Search:
    """Searches in one graph, one at a time, with what they learned kept in between.

    It may go on in a later transaction if `lose` is told first what gained support
    in between. Support that was lost does not matter: whoever took it made a new
    candidate of what lost it.

    examined: keepers looked at. interrupted: searches that `lose` ended halfway.
    """

    def __init__(self) -> None:
        self._barren: set[State] = set()
        self._goal: State | None = None
        self._came_from: dict[State, tuple[State | None, int]] = {}
        self._stack: list[tuple[State, bytes]] = []
        self._met_flat = False
        self.examined = 0
        self.interrupted = 0

    def forget(self) -> None:
        """Begin anew, knowing nothing."""
        self._barren.clear()
        self._goal = None

    def lose(self, gained: Iterable[bytes]) -> None:
        """Forget everything if one of these was found, or nearly found, to be dead."""
        for id_ in gained:
            for state in ((id_, True), (id_, False)):
                if state in self._barren or state in self._came_from:
                    self.interrupted += self._goal is not None
                    self.forget()
                    return

    def life(self, graph: GraphView, id_: bytes, deadline: int = 0) -> Life | None:
        """How alive a node is; None when there was no time to find out.

        Asked again for the same node, it goes on where it stopped. deadline: of
        `perf_counter_ns`; 0 for none.
        """
        if self._goal is None or self._goal[0] != id_:
            self._begin(graph, (id_, True))
        while True:
            path = self._advance(graph, deadline)
            if path is None:
                return None
            goal, self._goal = self._goal, None
            whole = goal is not None and goal[1]
            if path:
                return Life.FULL if whole else Life.FLAT
            if not (whole and self._met_flat):
                return Life.DEAD
            self._begin(graph, (id_, False))

    def path(self, graph: GraphView, id_: bytes) -> list[Step]:
        """From a live root down to this node; empty when there is none."""
        for whole in (True, False):
            self._begin(graph, (id_, whole))
            path = self._advance(graph, 0)
            if path:
                return path
        return []

    def _begin(self, graph: GraphView, goal: State) -> None:
        self._goal = goal
        self._met_flat = self._met_flat and not goal[1]
        self._came_from = {goal: (None, 0)}
        self._stack = []
        row = graph.row(goal[0])
        if row is not None and row.exists and not self._is_barren(goal):
            self._stack.append((goal, b""))

    def _advance(self, graph: GraphView, deadline: int) -> list[Step] | None:
        """Depth first, keepers in blocks. The path to the goal, empty when there is
        none (all that was visited is barren then), None when time is up."""
        came_from, stack = self._came_from, self._stack
        while stack:
            state, after = stack.pop()
            id_, full = state
            if not after:
                row = graph.row(id_)
                if row is None or not row.exists:
                    continue
                if row.is_root(graph.now):
                    return _unwind(came_from, state)
            block = list(islice(graph.keepers(id_, after), _BLOCK))
            if len(block) == _BLOCK:
                stack.append((state, block[-1][0]))
            for _, keeper, kind in block:
                above = graph.row(keeper)
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
                if above.is_root(graph.now):
                    return _unwind(came_from, ask)
                stack.append((ask, b""))
            if deadline and stack and perf_counter_ns() > deadline:
                return None
        if len(self._barren) > _MOST_BARREN:
            self._barren.clear()
        self._barren.update(came_from)
        if not self._met_flat:
            # Nothing flat above: whatever has no FULL support has none at all.
            self._barren.update((id_, False) for id_, _ in came_from)
        return []

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
