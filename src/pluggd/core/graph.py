# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""In which order plugins start: from the kinds they provide, require and want.

Pure: names in, an order out. Any order of input gives the same result, because ties
are broken by URI. Nothing here starts anything or knows why a plugin is not there.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable, Mapping, Sequence

from pluggd.errors import FailedPrecondition
from pluggd.struct import Struct


class Node(Struct, frozen=True):
    """One plugin: its URI, the kind it provides, the kinds it requires and wants.

    layer: 0, or for a decorator its place over the providers of its kind, from 1.
    """

    uri: str
    provides: str
    requires: tuple[str, ...] = ()
    wants: tuple[str, ...] = ()
    layer: int = 0


class Plan(Struct, frozen=True):
    """order: URIs, dependencies first, without the members of cycles.
    missing: for each URI the required kinds that no node provides.
    cycles: for each member of a cycle, the cycle as `a -> b -> a`.
    """

    order: tuple[str, ...]
    missing: Mapping[str, tuple[str, ...]]
    cycles: Mapping[str, str]


def plan(nodes: Iterable[Node]) -> Plan:
    """Order the nodes; URIs must be unique.

    A plugin comes after all providers of what it requires or wants, and a decorator
    after those of its kind that lie below it. Whoever depends on a member of a cycle is
    not a member: it is in the order.
    """
    by_uri = {node.uri: node for node in sorted(nodes, key=lambda node: node.uri)}
    providers: dict[str, list[str]] = {}
    for node in by_uri.values():
        providers.setdefault(node.provides, []).append(node.uri)
    after = {
        uri: sorted(
            {
                provider
                for kind in (*node.requires, *node.wants)
                for provider in providers.get(kind, ())
            }
            | {
                other
                for other in providers[node.provides]
                if by_uri[other].layer < node.layer
            }
        )
        for uri, node in by_uri.items()
    }
    order, rest = _sort(after)
    cycles = {
        uri: " -> ".join(cycle)
        for uri in rest
        if (cycle := _cycle_through(uri, after)) is not None
    }
    if cycles:
        remaining = {
            uri: [dependency for dependency in dependencies if dependency not in cycles]
            for uri, dependencies in after.items()
            if uri not in cycles
        }
        order, _ = _sort(remaining)
    missing = {
        uri: kinds
        for uri, node in by_uri.items()
        if (
            kinds := tuple(
                kind
                for kind in _needed(node)
                if all(
                    node.layer
                    and kind == node.provides
                    and by_uri[other].layer >= node.layer
                    for other in providers.get(kind, ())
                )
            )
        )
    }
    return Plan(tuple(order), missing, cycles)


def _needed(node: Node) -> tuple[str, ...]:
    """The kinds without which it cannot start; a decorator needs something below it."""
    return (*node.requires, node.provides) if node.layer else node.requires


def _sort(after: Mapping[str, Sequence[str]]) -> tuple[list[str], list[str]]:
    """Kahn's algorithm with a heap: (sorted, what waits for a cycle)."""
    waiting = {uri: len(dependencies) for uri, dependencies in after.items()}
    before: dict[str, list[str]] = {uri: [] for uri in after}
    for uri, dependencies in after.items():
        for dependency in dependencies:
            before[dependency].append(uri)
    ready = [uri for uri, count in waiting.items() if count == 0]
    heapq.heapify(ready)
    order: list[str] = []
    while ready:
        uri = heapq.heappop(ready)
        order.append(uri)
        for dependent in before[uri]:
            waiting[dependent] -= 1
            if waiting[dependent] == 0:
                heapq.heappush(ready, dependent)
    done = set(order)
    return order, [uri for uri in after if uri not in done]


def _cycle_through(start: str, after: Mapping[str, Sequence[str]]) -> list[str] | None:
    """A shortest way from a node back to itself, told from its smallest member on, so
    that all members of one cycle tell it alike. Breadth first: no recursion to overflow."""
    came_from: dict[str, str] = {}
    queue = deque([start])
    while queue:
        uri = queue.popleft()
        for dependency in after[uri]:
            if dependency == start:
                way = [uri]
                while way[-1] != start:
                    way.append(came_from[way[-1]])
                way.reverse()
                first = way.index(min(way))
                way = way[first:] + way[:first]
                return [*way, way[0]]
            if dependency not in came_from:
                came_from[dependency] = uri
                queue.append(dependency)
    return None


def choose(kind: str, candidates: Iterable[str], selected: str = "") -> str | None:
    """The id that counts among the providers of a kind, or None when there is none.

    Raises FailedPrecondition when several could be meant and none is selected.
    """
    ids = sorted(candidates)
    if selected:
        return selected if selected in ids else None
    if len(ids) > 1:
        raise FailedPrecondition(
            f"kind {kind} has more than one provider: {', '.join(ids)}; choose one in"
            f' the configuration, as in [select] "{kind}" = "{ids[0]}": failed precondition'
        )
    return ids[0] if ids else None
