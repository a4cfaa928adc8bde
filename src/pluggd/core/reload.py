# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""A new configuration for a running daemon: what it changes, and changing that.

Everything is read and checked before anything is touched, so a file with a mistake
changes nothing. What can be taken over is; plugins whose options differ are started
anew, unless they take them while they run; what only a new start of the daemon
changes is told and left.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pluggd.core.changes import Changes
from pluggd.core.clashes import reject_clashes
from pluggd.core.config import Configuration
from pluggd.core.differences import Difference, Effect, differences, in_force
from pluggd.core.discovery import Found
from pluggd.core.log import Log
from pluggd.core.placing import judge, why_off
from pluggd.core.status import Status
from pluggd.core.table import Row, Table
from pluggd.model.record import Record
from pluggd.plugin import NoConfig
from pluggd.services.management import Change, PluginChange
from pluggd.struct import Struct, field

Read = Callable[[], tuple[Configuration, Sequence[Found]]]


class Plan(Struct):
    """What a reload is to do. gone, new, off, on: rows that are removed, added,
    disabled and enabled by it; why_off: of those; options: new records, by row; concerned: all rows that
    are stopped and started, in order of start."""

    configuration: Configuration
    found: list[Difference]
    gone: list[Row] = field(default_factory=list[Row])
    new: list[Row] = field(default_factory=list[Row])
    off: list[Row] = field(default_factory=list[Row])
    on: list[Row] = field(default_factory=list[Row])
    why_off: dict[str, str] = field(default_factory=dict[str, str])
    live: dict[Row, Record] = field(default_factory=dict[Row, Record])
    anew: dict[Row, Record] = field(default_factory=dict[Row, Record])
    concerned: list[Row] = field(default_factory=list[Row])


class Reload:
    """Reads and applies configurations. adopt: told the one that is in force from now
    on, before plugins change."""

    def __init__(
        self,
        changes: Changes,
        read: Read,
        in_force: Callable[[], Configuration],
        adopt: Callable[[Configuration], None],
        log: Log,
    ) -> None:
        self._changes = changes
        self._table = changes.table
        self._read = read
        self._in_force = in_force
        self._adopt = adopt
        self._log = log

    async def run(self, *, dry_run: bool = False) -> Change:
        """See `services.management`."""
        async with self._changes.turn():
            plan = self._plan(*self._read())
            options = [one.told(plan.configuration) for one in plan.found]
            warnings = [*plan.configuration.warnings, *_warnings(plan.found)]
            if dry_run:
                return Change(options=options, plugins=_told(plan), warnings=warnings)
            plugins = await self._apply(plan)
            warnings += self._unmet(plan.configuration)
            return Change(options=options, plugins=plugins, warnings=warnings)

    # --- looking

    def _plan(self, configuration: Configuration, found: Sequence[Found]) -> Plan:
        old = self._in_force()
        # What was disabled or enabled by hand stays so, unless the file changes its mind.
        settings = configuration.settings
        known = reject_clashes(found, settings.disabled_plugins)
        before = why_off(
            (row.found for row in self._table.rows), old.settings.disabled_plugins, old
        )
        after = why_off(known, settings.disabled_plugins, configuration)
        rows = {(row.uri, row.found.path): row for row in self._table.rows}
        plan = Plan(configuration, differences(old, configuration, self._live))
        plan.why_off = after
        for one in known:
            row = rows.pop((one.uri, one.path), None)
            if row is None or row.found != one:
                if row is not None:
                    plan.gone.append(row)
                record = configuration.records.get(one.uri, NoConfig())
                plan.new.append(Row(one, record))
            elif row.uri in after.keys() - before.keys():
                if row.status is not Status.DISABLED:
                    plan.off.append(row)
            elif (
                row.uri in before.keys() - after.keys()
                and row.status is Status.DISABLED
            ):
                plan.on.append(row)
        plan.gone += rows.values()
        self._note_options(plan)
        self._note_concerned(plan, old)
        return plan

    def _live(self, uri: str) -> Sequence[str]:
        for row in self._table.rows:
            if row.uri == uri and row.registration is not None and row.on_reload:
                return row.registration.live
        return ()

    def _note_options(self, plan: Plan) -> None:
        for row in self._table.rows:
            mine = [one for one in plan.found if one.uri == row.uri]
            if not mine or row in plan.gone:
                continue
            record = plan.configuration.records[row.uri]
            live = all(one.effect is Effect.LIVE for one in mine)
            (plan.live if live else plan.anew)[row] = record

    def _note_concerned(self, plan: Plan, old: Configuration) -> None:
        rows = [row for row in self._table.rows if row not in plan.gone]
        kinds = {row.kind for row in rows}
        chosen = {
            kind
            for kind in kinds
            if old.selected(kind) != plan.configuration.selected(kind)
            or old.decorators(kind) != plan.configuration.decorators(kind)
        }
        changed = {
            *plan.gone,
            *plan.new,
            *plan.off,
            *plan.on,
            *(row for row in plan.anew if row.status is not Status.DISABLED),
            *(row for row in rows if row.uses(chosen)),
            *(row for row in rows if row.kind in chosen and self._table.layer(row)),
        }
        everything = Table([*self._table.rows, *plan.new], plan.configuration)
        plan.concerned = [
            row
            for row in everything.dependents(changed)
            if row.status is not Status.DISABLED or row in plan.on
        ]

    # --- doing

    async def _apply(self, plan: Plan) -> list[PluginChange]:
        self._adopt(in_force(self._in_force(), plan.configuration))
        told = [self._reconfigure(row, record) for row, record in plan.live.items()]
        refused = [row for row, done in zip(plan.live, told, strict=True) if not done]
        if refused:
            everything = Table([*self._table.rows, *plan.new], plan.configuration)
            plan.concerned = everything.dependents([*plan.concerned, *refused])
        plugins = [one for one in told if one is not None]

        def between() -> None:
            for row in plan.gone:
                self._table.rows.remove(row)
            for row, record in plan.anew.items():
                row.config = record
            for row in plan.off:
                if row.status is Status.FOUND:
                    self._table.move(row, Status.DISABLED, plan.why_off[row.uri])
            for row in plan.new:
                judge(self._table, row, plan.why_off, self._log)

        if plan.concerned:
            self._table.rows += plan.new
            change = await self._changes.replace(
                plan.concerned, "the configuration was reloaded", between
            )
            plugins += change.plugins
        else:
            between()
        return plugins

    def _reconfigure(self, row: Row, record: Record) -> PluginChange | None:
        """Give a plugin that runs its new options; None when it would not have them."""
        row.config = record
        if row.on_reload is None or row.status is not Status.OK:
            return PluginChange(
                uri=row.uri, action="reconfigure", before=row.status, after=row.status
            )
        try:
            row.on_reload(record)
        except Exception:  # noqa: BLE001 - a plugin's bug: a new start mends it
            self._log.exception(
                "plugin does not take its new options: it is restarted",
                extra={"plugin": row.uri},
            )
            return None
        return PluginChange(
            uri=row.uri, action="reconfigure", before=row.status, after=row.status
        )

    def _unmet(self, configuration: Configuration) -> list[str]:
        status = {row.uri: row for row in self._table.rows}
        return [
            f"required plugin {uri} is {row.status.value}: {row.state.reason}"
            for uri in configuration.settings.required_plugins
            if (row := status.get(uri)) is not None and row.status is not Status.OK
        ]


def _warnings(found: Sequence[Difference]) -> list[str]:
    return [
        f"{'.'.join(one.key)} is in force when the daemon is started anew"
        for one in found
        if one.effect is Effect.DAEMON
    ]


def _told(plan: Plan) -> list[PluginChange]:
    """What `_apply` would do."""
    actions = {
        **dict.fromkeys(plan.live, "reconfigure"),
        **dict.fromkeys(plan.gone, "stop"),
        **dict.fromkeys(plan.off, "stop"),
    }
    rows = [*(row for row in plan.live if row not in plan.concerned), *plan.concerned]
    running = (Status.OK, Status.FAILED)
    return [
        PluginChange(
            uri=row.uri,
            action=actions.get(row)
            or ("restart" if row.status in running else "start"),
            before="" if row in plan.new else row.status.value,
        )
        for row in rows
    ]
