# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Without which plugins a daemon does not start: `required_plugins` and `strict`."""

from __future__ import annotations

from pluggd.core.settings import Settings
from pluggd.core.status import Status
from pluggd.core.table import Table
from pluggd.errors import FailedPrecondition


class StartRefused(FailedPrecondition):
    """A required plugin is not ok, or any in strict mode; the message has a line each."""


def refuse_if_required(table: Table, settings: Settings) -> None:
    """Raises StartRefused naming all that are required and not ok, at once."""
    required = set(settings.required_plugins)
    refused = [
        row
        for row in table.rows
        if row.status is not Status.OK
        and (
            row.uri in required
            or (settings.strict and row.status is not Status.DISABLED)
        )
    ]
    missing = sorted(required - {row.uri for row in table.rows})
    lines = [f"{row.uri}: {row.status.value}: {row.state.reason}" for row in refused]
    lines += [f"{uri}: not found" for uri in missing]
    if missing:
        # It may be in a module that could not even say what it holds.
        lines += [
            f"{row.uri}: not loaded: {row.state.reason}"
            for row in table.rows
            if row.registration is None and row not in refused
        ]
    if lines:
        what = "strict mode" if settings.strict else "required_plugins"
        raise StartRefused(
            f"the daemon does not start ({what}), because of:\n"
            + "\n".join(f"  {line}" for line in lines)
        )
