# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What is decided about plugins before any of them starts: which are broken, disabled
or part of a cycle, and in which order the others get their turn."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from pluggd.core.advice import in_cycle
from pluggd.core.choosing import Choice, not_chosen
from pluggd.core.discovery import Found
from pluggd.core.graph import Node, plan
from pluggd.core.log import Log
from pluggd.core.status import Status
from pluggd.core.table import Row, Table

DISABLED = "disabled in the configuration"


def place(table: Table, disabled: Collection[str], log: Log) -> None:
    """Judge every row that is *found*, and bring the table into the order of start."""
    off = why_off((row.found for row in table.rows), disabled, table.choice)
    for row in table.rows:
        if row.status is Status.FOUND:
            judge(table, row, off, log)
    arrange(table, log)


def why_off(
    found: Iterable[Found], disabled: Collection[str], choice: Choice
) -> dict[str, str]:
    """Which plugins the configuration does not want, by URI, and why."""
    known = [one.registration for one in found if one.registration is not None]
    reasons = not_chosen(known, choice)
    reasons.update((one.uri, DISABLED) for one in known if one.uri in disabled)
    return reasons


def judge(table: Table, row: Row, off: Mapping[str, str], log: Log) -> None:
    """Whether a row that is *found* can have a turn at all. off: see `why_off`."""
    if row.uri in off and row.registration is not None:
        table.move(row, Status.DISABLED, off[row.uri])
    elif row.found.failure is not None:
        failure = row.found.failure
        table.fail(row, failure)
        log.error(
            "plugin failed",
            extra={
                "plugin": row.uri,
                "reason": row.state.reason,
                "detail": failure.traceback,
            },
        )


def arrange(table: Table, log: Log) -> None:
    """Bring the table into the order of start; who is *found* and closes a cycle fails.

    Plugins that run have their place in it as well: one that is added later comes where
    it would have come.
    """
    rows = {
        row.uri: row
        for row in table.rows
        if row.registration is not None
        and row.found.failure is None
        and row.status is not Status.DISABLED
    }
    result = plan(_node(row, table.layer(row)) for row in rows.values())
    for uri, cycle in result.cycles.items():
        row = rows.pop(uri)
        if row.status is Status.FOUND:
            table.move(row, Status.FAILED, in_cycle(cycle), code="failed_precondition")
            log.error(
                "plugin failed", extra={"plugin": uri, "reason": row.state.reason}
            )
    table.sort(result.order)


def _node(row: Row, layer: int) -> Node:
    registration = row.registration
    assert registration is not None  # arrange leaves the others out
    return Node(
        row.uri,
        row.kind,
        tuple(kind.name for kind in registration.requires),
        tuple(kind.name for kind in registration.wants),
        layer,
    )
