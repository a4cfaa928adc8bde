# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Plugins restarted, disabled, enabled and configured anew while the daemon runs.

Every change is the same walk: take what is concerned from service, let its calls end,
stop it in reverse order, change the table, start in order, serve again. Only what lies
between stop and start differs. One change at a time; none is left half done because
who asked for it went away.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import trio

from pluggd.core.choosing import not_chosen
from pluggd.core.config import Configuration
from pluggd.core.lifecycle import Lifecycle
from pluggd.core.log import Log
from pluggd.core.placing import arrange
from pluggd.core.services import Services
from pluggd.core.status import Status
from pluggd.core.table import Row, Table
from pluggd.errors import FailedPrecondition, Unavailable
from pluggd.services.daemon import DAEMON
from pluggd.services.management import Change, PluginChange

BY_HAND = "disabled by hand, until it is enabled or the daemon is started anew"


class Changes:
    """The changes of one running daemon. configuration: gives the one in force."""

    def __init__(
        self,
        table: Table,
        lifecycle: Lifecycle,
        services: Services,
        configuration: Callable[[], Configuration],
        log: Log,
    ) -> None:
        self.table = table
        self._lifecycle = lifecycle
        self._services = services
        self._configuration = configuration
        self._log = log
        self._turn = trio.Lock()

    async def restart(self, uri: str) -> Change:
        """See `services.management`."""
        async with self._turn:
            row = self._changeable(uri)
            if row.status is Status.DISABLED:
                raise FailedPrecondition(
                    f"plugin {uri} is disabled: enable it: failed precondition"
                )
            return await self.replace(self.table.dependents([row]), f"restart of {uri}")

    async def disable(self, uri: str) -> Change:
        """See `services.management`."""
        async with self._turn:
            row = self._changeable(uri)
            if row.status is Status.DISABLED:
                raise FailedPrecondition(
                    f"plugin {uri} is disabled already: failed precondition"
                )
            rows = self.table.dependents([row])
            self._refuse_if_required(row, rows)

            def off() -> None:
                if row.status is Status.FOUND:
                    self.table.move(row, Status.DISABLED, BY_HAND)

            return await self.replace(rows, f"{uri} is being disabled", off)

    async def enable(self, uri: str) -> Change:
        """See `services.management`."""
        async with self._turn:
            row = self._changeable(uri)
            if row.status is not Status.DISABLED:
                raise FailedPrecondition(
                    f"plugin {uri} is not disabled, it is {row.status.value}:"
                    " failed precondition"
                )
            self._refuse_if_not_chosen(row)
            rows = self.table.dependents([row])
            # What decorates its kind is over it from now on, or over another.
            return await self.replace(rows, f"{uri} is being enabled")

    async def close(self) -> None:
        """Wait for the change under way, and let no other begin."""
        await self._turn.acquire()

    def turn(self) -> trio.Lock:
        """What a change of another kind (`reload`) holds while it looks and acts."""
        return self._turn

    async def replace(
        self,
        rows: Sequence[Row],
        why: str,
        between: Callable[[], None] = lambda: None,
    ) -> Change:
        """Stop these, call `between` when nothing of them runs, and give those that are
        *found* then their turn. The caller holds the turn.

        Rows whose task would not end stay as they are; so does what needs them.
        """
        before = {row: row.status for row in self.table.rows}
        if self._lifecycle.stopping:
            raise Unavailable("the daemon is stopping: unavailable")
        self._log.info(
            "plugins change",
            extra={"reason": why, "plugins": ", ".join(row.uri for row in rows)},
        )
        with trio.CancelScope(shield=True):
            await self._services.withdraw(rows, f"plugins change: {why}")
            stuck = await self._lifecycle.halt(rows)
            for row in rows:
                if row not in stuck and row.status is not Status.FOUND:
                    self.table.again(row)
            between()
            arrange(self.table, self._log)
            await self._lifecycle.start()
            self._services.open()
        change = Change(plugins=self._told(rows, before))
        # A row that is new has no status before.
        bad = [one.uri for one in change.plugins if one.after == Status.FAILED.value]
        self._log.log(
            30 if bad else 20,
            "plugins changed",
            extra={"reason": why, "failed": ", ".join(bad)} if bad else {"reason": why},
        )
        return change

    def _told(
        self, rows: Collection[Row], before: dict[Row, Status]
    ) -> list[PluginChange]:
        order = {row: index for index, row in enumerate(self.table.rows)}
        there = {row.uri for row in rows if row in order}
        # One whose file changed is a row that went and a row that came.
        gone = {row.uri: before[row] for row in rows if row not in order}
        told: list[PluginChange] = []
        for row in sorted(rows, key=lambda row: order.get(row, len(order))):
            if row in order:
                was = gone.get(row.uri) or before.get(row)
                told.append(
                    PluginChange(
                        uri=row.uri,
                        action=action(was, row.status),
                        before=was.value if was is not None else "",
                        after=row.status.value,
                        reason=row.state.reason,
                    )
                )
            elif row.uri not in there:
                status = before[row].value
                told.append(
                    PluginChange(
                        uri=row.uri, action="stop", before=status, reason="removed"
                    )
                )
        return told

    def _changeable(self, uri: str) -> Row:
        row = self.table.find(uri)
        if row.registration is None or row.found.failure is not None:
            raise FailedPrecondition(
                f"plugin {uri} could not be loaded ({row.state.reason}): mend"
                f" {row.found.path} and reload the configuration: failed precondition"
            )
        if row.kind == DAEMON.name:
            raise FailedPrecondition(
                f"plugin {uri} is the daemon itself: restart the daemon:"
                " failed precondition"
            )
        return row

    def _refuse_if_not_chosen(self, row: Row) -> None:
        """Two alternatives would do one work twice, and a decorator has no place."""
        registrations = [one.registration for one in self.table.rows]
        reason = not_chosen(
            (one for one in registrations if one is not None), self.table.choice
        ).get(row.uri)
        if reason is not None:
            raise FailedPrecondition(
                f"plugin {row.uri} is {reason}; change that in the configuration and"
                " reload it: failed precondition"
            )

    def _refuse_if_required(self, row: Row, rows: Collection[Row]) -> None:
        required = self._configuration().settings.required_plugins
        for one in rows:
            if one.uri in required:
                what = "is" if one is row else f"is needed by {one.uri}, which is"
                raise FailedPrecondition(
                    f"plugin {row.uri} {what} in required_plugins: take it out there"
                    " and reload the configuration first: failed precondition"
                )


def action(before: Status | None, after: Status) -> str:
    """What was done with a plugin, in a word of `PluginChange`."""
    if before in (Status.OK, Status.FAILED):
        return "stop" if after is Status.DISABLED else "restart"
    return "stop" if after is Status.DISABLED else "start"
