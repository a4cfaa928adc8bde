# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""`pluggd plugins`: what a start would do, told without starting anything."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from pluggd.core.config import Configuration
from pluggd.core.daemon import make_table
from pluggd.core.discovery import Found
from pluggd.core.log import make_log
from pluggd.core.status import Status
from pluggd.core.table import Row
from pluggd.model.record import to_plain
from pluggd.services.daemon import DAEMON


def plan_rows(
    configuration: Configuration, found: Sequence[Found]
) -> list[dict[str, Any]]:
    """A map per plugin, in order of start. status: `found` means that it would start;
    `blocked`, that something it requires is not there, or would not start."""
    table = make_table(configuration, found, make_log(stream=io.StringIO()))
    startable = {DAEMON.name}
    for row in table.rows:
        if row.status is not Status.FOUND:
            continue
        layer = table.layer(row)
        missing = _missing(row, startable, layer)
        if missing:
            causes = table.obstacle(missing[0])
            if layer:  # then nobody may use the kind
                startable.discard(row.kind)
            reason = f"requires {', '.join(missing)}"
            if causes and causes[0].status != Status.FOUND.value:
                reason += f", because {causes[0].uri}: {causes[0].status}"
                reason += f" ({causes[0].reason})" if causes[0].reason else ""
            table.move(row, Status.BLOCKED, reason, causes=causes)
        else:
            startable.add(row.kind)
    return [to_plain(table.info(row)) for row in table.rows]


def _missing(row: Row, startable: set[str], layer: int) -> list[str]:
    required = row.registration.requires if row.registration else ()
    names = [kind.name for kind in required]
    if layer:
        names.append(row.kind)
    return [name for name in names if name not in startable]


def plan_text(rows: Sequence[dict[str, Any]]) -> str:
    """Those that would start, numbered; then the others with their reasons."""
    lines: list[str] = []
    width = max((len(row["uri"]) for row in rows), default=0)
    number = 0
    for row in rows:
        if row["status"] == Status.FOUND.value:
            number += 1
            lines.append(f"{number:3}  {row['uri']:{width}}  {row['origin']}")
        else:
            lines.append(
                f"  -  {row['uri']:{width}}  {row['status']}: {row.get('reason', '')}"
            )
    return "".join(line.rstrip() + "\n" for line in lines)
