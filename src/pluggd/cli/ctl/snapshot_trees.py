# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Snapshots and what is on them, as lines. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pluggd.cli.ctl.output import clean

_KINDS = {"view": " (view)", "active": " (active)"}


def tree_lines(found: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """One line for each snapshot, below its parent; in the order they come in. One whose
    parent is not among them stands at the left."""
    names = {str(item["name"]) for item in found}
    above: dict[str, list[Mapping[str, Any]]] = {}
    for item in found:
        parent = str(item.get("parent", ""))
        above.setdefault(parent if parent in names else "", []).append(item)
    # A stack and not recursion: an image may have hundreds of layers.
    waiting = [(item, "", "", "") for item in reversed(above.get("", []))]
    while waiting:
        item, indent, branch, below = waiting.pop()
        name = str(item["name"])
        yield f"{indent}{branch}{clean(name)}{_KINDS.get(item.get('kind', ''), '')}"
        children = above.get(name, [])
        for child in reversed(children):
            last = child is children[-1]
            waiting.append(
                (
                    child,
                    indent + below,
                    "└─ " if last else "├─ ",
                    "   " if last else "│  ",
                )
            )
