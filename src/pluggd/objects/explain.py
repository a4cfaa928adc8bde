# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Why an object is kept: the path that the collector would find, in words."""

from __future__ import annotations

from pluggd.objects.graph_view import ADDED, BACK, STRUCTURAL, GraphView
from pluggd.objects.search import Search
from pluggd.services.metadata import Explanation, Node, PathStep


def explain(graph: GraphView, node: Node) -> Explanation:
    """The path from a root to this node, or that there is none."""
    id_ = graph.id_of(node)
    row = None if id_ is None else graph.row(id_)
    if id_ is None or row is None or not row.exists:
        return Explanation()
    path: list[PathStep] = []
    for step, kind in Search().path(graph, id_):
        found = graph.row(step)
        if found is not None:
            type_, namespace, name = found.node
            how = _how(kind) if path else "root"
            path.append(PathStep(type=type_, namespace=namespace, name=name, how=how))
    return Explanation(exists=True, path=path)


def _how(kind: int) -> str:
    """How the step before keeps this one."""
    if kind & BACK:
        return "back reference"
    if kind & ADDED:
        return "resource"
    return "structural reference" if kind & STRUCTURAL else "reference"
