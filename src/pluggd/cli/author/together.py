# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What is wrong with plugins only when they come together: two of one URI, and cycles.

The daemon says the same when it starts; here it is said of what might be put into it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pluggd.core.advice import in_cycle
from pluggd.core.clashes import reject_clashes
from pluggd.core.discovery import Found
from pluggd.core.graph import Node, plan

Key = tuple[str, str]
"""Path and URI: a file may hold several plugins."""


def together(found: Sequence[Found], others: Iterable[Found]) -> dict[Key, list[str]]:
    """What is wrong with those that were found.

    others: what will be there, too. What they have chosen among alternatives is not
    known here, so theirs count for nothing.
    """
    paths = {one.path for one in found}
    everything = [*found, *(one for one in others if one.path not in paths)]
    wrong: dict[Key, list[str]] = {}
    good: dict[str, Found] = {}
    for one in reject_clashes(everything, ()):
        if one.failure is None:
            good[one.uri] = one
        elif one.failure.code == "already_exists" and one.path in paths:
            wrong.setdefault((one.path, one.uri), []).append(one.failure.reason)
    cycles = plan(_nodes(good.values(), paths)).cycles
    for uri, cycle in cycles.items():
        path = good[uri].path
        if path in paths:
            wrong.setdefault((path, uri), []).append(in_cycle(cycle))
    return wrong


def _nodes(good: Iterable[Found], paths: set[str]) -> Iterable[Node]:
    for one in good:
        registration = one.registration
        if registration is None:
            continue
        chosen = one.path in paths
        if (registration.alternative or registration.decorates) and not chosen:
            continue
        yield Node(
            one.uri,
            registration.provides.name,
            tuple(kind.name for kind in registration.requires),
            tuple(kind.name for kind in registration.wants),
            1 if registration.decorates else 0,
        )
