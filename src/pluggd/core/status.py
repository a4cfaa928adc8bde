# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What state a plugin is in, and which moves are legal: the table, and nothing else.

Every change of a plugin's status in the daemon goes through `move`. This file does
not know who decides, what time it is, or what a plugin is made of.
"""

from __future__ import annotations

from enum import StrEnum

from pluggd.errors import Internal
from pluggd.services.introspection import Cause
from pluggd.struct import Struct


class Status(StrEnum):
    """The value is what operators see."""

    FOUND = "found"
    DISABLED = "disabled"
    BLOCKED = "blocked"
    STARTING = "starting"
    OK = "ok"
    SKIPPED = "skipped"
    FAILED = "failed"
    STOPPING = "stopping"
    STOPPED = "stopped"


# found -> failed: its import or registration raised, or it is a member of a cycle.
# starting -> stopped: the daemon was told to stop in the middle of its start.
# failed -> stopping does not exist: a plugin that failed while it worked is still
# taken down at the end, but what the operator needs to see is that it failed.
# ... -> found: it gets another turn in a running daemon, once nothing of it runs.
TRANSITIONS: dict[Status, frozenset[Status]] = {
    Status.FOUND: frozenset(
        {Status.DISABLED, Status.BLOCKED, Status.STARTING, Status.FAILED}
    ),
    Status.STARTING: frozenset(
        {Status.OK, Status.SKIPPED, Status.FAILED, Status.STOPPED}
    ),
    Status.OK: frozenset({Status.FAILED, Status.STOPPING}),
    Status.STOPPING: frozenset({Status.STOPPED, Status.FAILED}),
    Status.DISABLED: frozenset({Status.FOUND}),
    Status.BLOCKED: frozenset({Status.FOUND}),
    Status.SKIPPED: frozenset({Status.FOUND}),
    Status.FAILED: frozenset({Status.FOUND}),
    Status.STOPPED: frozenset({Status.FOUND}),
}


class State(Struct, frozen=True):
    """A status with its reason.

    code: the error class of a failure (`pluggd.errors`), or "". causes: for blocked,
    from the direct cause to the first one. since: ns, when the status was entered.
    took: ns that the start took, successful or not.
    """

    status: Status = Status.FOUND
    reason: str = ""
    code: str = ""
    causes: tuple[Cause, ...] = ()
    since: int = 0
    took: int = 0


def move(
    state: State,
    status: Status,
    *,
    now: int,
    reason: str = "",
    code: str = "",
    causes: tuple[Cause, ...] = (),
) -> State:
    """The state after a legal move. Raises Internal for any other: that is a bug."""
    if status not in TRANSITIONS[state.status]:
        raise Internal(
            f"a plugin cannot go from {state.status.value} to {status.value}"
        )
    took = now - state.since if state.status is Status.STARTING else state.took
    return State(status, reason, code, causes, now, took)


def chain(causes: tuple[Cause, ...]) -> str:
    """`a: failed, because b: failed, because ...` in one line, direct cause first."""
    return ", because ".join(
        f"{cause.uri}: {cause.status}" + (f" ({cause.reason})" if cause.reason else "")
        if index == len(causes) - 1
        else f"{cause.uri}: {cause.status}"
        for index, cause in enumerate(causes)
    )
