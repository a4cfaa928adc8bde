# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""One daemon: its locks, its plugins, its socket, from start to stop.

The object is all there is; two of them in a process never meet. It is told to stop by
`stop`, by a signal (`pluggd.core.signals`) or by being cancelled, and does the same each
time: answer what is running, stop plugins in reverse order, remove the socket, unlock.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import trio

from pluggd.core.changes import Changes
from pluggd.core.clashes import reject_clashes
from pluggd.core.config import Configuration
from pluggd.core.directories import ROOT_MODE, STATE_MODE, identity, make_directory
from pluggd.core.discovery import Found
from pluggd.core.face import Face, own_plugin
from pluggd.core.lifecycle import Deadlines, Lifecycle
from pluggd.core.listener import open_listener, validate_address
from pluggd.core.locks import locked
from pluggd.core.log import Log, set_log
from pluggd.core.notify import notify
from pluggd.core.placing import place
from pluggd.core.probe import Probe
from pluggd.core.required import refuse_if_required
from pluggd.core.services import Services
from pluggd.core.settings import Settings
from pluggd.core.table import Row, Table
from pluggd.core.watchdog import Watchdog
from pluggd.errors import FailedPrecondition, PluggdError, Unavailable
from pluggd.plugin import NoConfig
from pluggd.services.introspection import (
    PluginInfo,
)

if TYPE_CHECKING:
    from pluggd.core.reload import Read, Reload


class Daemon:
    """See `pluggd.services.daemon.Daemon` for what plugins see of it."""

    def __init__(
        self,
        configuration: Configuration,
        found: Sequence[Found],
        *,
        log: Log,
        stuck: Callable[[list[str]], None] = lambda uris: None,
        read: Read | None = None,
    ) -> None:
        """found: what discovery found, the core's own provider is added here.
        read: reads configuration and plugins again for a reload; without it there is
        none. stuck: called at the very end with the plugins whose tasks would not end; if
        it returns, `run` goes on waiting for them."""
        self.configuration = configuration
        self.log = log
        self.face = Face(self)
        self._own = own_plugin(self.face)
        self.table = make_table(configuration, [*found, self._own], log)
        self.services = Services(self.table, configuration.settings)
        self._stuck = stuck
        self._stop_asked = trio.Event()
        self._read = read
        self._lifecycle: Lifecycle | None = None
        self._changes: Changes | None = None
        self.started_at = time.time_ns()
        self.uuid = ""
        self.probe = Probe()

    @property
    def address(self) -> str:
        """The path of the socket."""
        return str(self.configuration.address)

    # --- what plugins see: see `face`

    def plugins(self) -> Sequence[PluginInfo]:
        return self.face.plugins()

    def running_changes(self) -> Changes:
        """Raises Unavailable unless the daemon serves."""
        if self._changes is None or self._stop_asked.is_set():
            raise Unavailable("the daemon is not serving: unavailable")
        return self._changes

    def reloader(self) -> Reload:
        """Raises Unavailable, and FailedPrecondition when there is nothing to read."""
        from pluggd.core.reload import Reload

        changes, read = self.running_changes(), self._read
        if read is None:
            raise FailedPrecondition(
                "this daemon was not started from a configuration that can be read"
                " again: failed precondition"
            )

        def read_again() -> tuple[Configuration, list[Found]]:
            configuration, found = read()
            return configuration, [*found, self._own]

        return Reload(
            changes, read_again, lambda: self.configuration, self._adopt, self.log
        )

    def _adopt(self, configuration: Configuration) -> None:
        """Take over what is not a plugin's, at once."""
        self.configuration = self.table.choice = configuration
        settings = configuration.settings
        set_log(self.log, settings.log.level, settings.log.format)
        self.services.apply(settings)
        if self._lifecycle is not None:
            self._lifecycle.deadlines = _deadlines(settings)

    # --- life

    def stop(self, reason: str = "asked") -> None:
        """Begin to stop, also in the middle of the start. Safe to call twice."""
        if self._stop_asked.is_set():
            return
        self.log.info("daemon stopping", extra={"reason": reason})
        notify("STOPPING=1")
        self._stop_asked.set()
        if self._lifecycle is not None:
            self._lifecycle.interrupt()

    def hurry(self) -> None:
        """Stop, and do not wait for anybody who takes his time."""
        self.stop("hurried")
        self.log.warning("daemon stopping in a hurry")
        self.services.hurry.set()
        if self._lifecycle is not None:
            self._lifecycle.hurry()

    async def run(
        self, *, task_status: trio.TaskStatus[Daemon] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Run until told to stop; reports as started when the socket answers.

        Raises AlreadyRunning, StartRefused, or FailedPrecondition when directories or
        the socket cannot be had. Being cancelled stops it in the same order.
        """
        configuration = self.configuration
        validate_address(configuration.address)
        make_directory(configuration.root, ROOT_MODE, "root")
        make_directory(configuration.state, STATE_MODE, "state")
        make_directory(configuration.address.parent, STATE_MODE, "address")
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(
                locked(
                    configuration.root / "pluggd.lock",
                    f"root {configuration.root}",
                    "choose another --root",
                )
            )
            address = configuration.address
            await stack.enter_async_context(
                locked(
                    address.with_name(address.name + ".lock"),
                    f"socket {address}",
                    "choose another --address",
                )
            )
            self.uuid = identity(configuration.root)
            # What ends the daemon is raised outside the nurseries, so that callers see
            # the error itself and not a group with it inside.
            refused: PluggdError | None = None
            async with trio.open_nursery() as watching:
                watching.start_soon(self._stop_when_cancelled)
                # From here on, cancellation arrives as a request to stop: otherwise it
                # would reach all plugins at once, in no order.
                with trio.CancelScope(shield=True):
                    refused = await self._run_plugins(task_status)
                watching.cancel_scope.cancel()
        if refused is not None:
            raise refused
        self.log.info("daemon stopped")

    async def _stop_when_cancelled(self) -> None:
        try:
            await trio.sleep_forever()
        finally:
            self.stop("cancelled")

    async def _run_plugins(
        self, task_status: trio.TaskStatus[Daemon]
    ) -> PluggdError | None:
        settings = self.configuration.settings
        watchdog = Watchdog(self._report_blocked)
        try:
            async with trio.open_nursery() as lives:
                self._lifecycle = lifecycle = Lifecycle(
                    self.table,
                    lives,
                    deadlines=_deadlines(settings),
                    log=self.log,
                    root=self.configuration.root,
                    state=self.configuration.state,
                    watchdog=watchdog,
                )
                refused: PluggdError | None = None
                try:
                    await self._serve(lifecycle, task_status)
                except PluggdError as error:
                    refused = error
                finally:
                    self._stop_asked.set()
                    lifecycle.interrupt()
                    if self._changes is not None:
                        await self._changes.close()
                    self.services.close()
                    stuck = await lifecycle.stop()
                    if stuck:
                        self.log.error(
                            "plugins would not stop",
                            extra={"plugins": ", ".join(stuck)},
                        )
                        self._stuck(stuck)
            return refused
        finally:
            watchdog.close()

    async def _serve(
        self, lifecycle: Lifecycle, task_status: trio.TaskStatus[Daemon]
    ) -> None:
        for warning in self.configuration.warnings:
            self.log.warning("configuration may be wrong", extra={"reason": warning})
        if self._stop_asked.is_set():
            return
        await lifecycle.start()
        if self._stop_asked.is_set():
            return
        refuse_if_required(self.table, self.configuration.settings)
        rpc = self.configuration.settings.rpc
        self.services.open()
        self._changes = Changes(
            self.table, lifecycle, self.services, lambda: self.configuration, self.log
        )
        async with (
            open_listener(
                self.configuration.address, uid=rpc.uid, gid=rpc.gid, mode=rpc.mode
            ) as listener,
            self.services.served(listener),
            trio.open_nursery() as probing,
        ):
            probing.start_soon(self.probe.run, name="probe of the loop")
            self.log.info(
                "daemon ready",
                extra={
                    "address": self.address,
                    "took_ms": (time.time_ns() - self.started_at) // 1_000_000,
                    **self._counts(),
                },
            )
            notify(self.ready_text())
            task_status.started(self)
            await self._stop_asked.wait()
            probing.cancel_scope.cancel()

    def ready_text(self) -> str:
        """What the service manager is told."""
        counts = self._counts().items()
        status = ", ".join(f"{count} {name}" for name, count in counts)
        return f"READY=1\nSTATUS=plugins: {status}"

    def _counts(self) -> dict[str, int]:
        statuses = [row.status.value for row in self.table.rows]
        return {status: statuses.count(status) for status in sorted(set(statuses))}

    def _report_blocked(self, name: str, stack: str) -> None:
        self.log.error(
            "plugin blocks the daemon: it does not return to trio",
            extra={"plugin": name, "detail": stack.rstrip()},
        )


def _deadlines(settings: Settings) -> Deadlines:
    return Deadlines(
        settings.start_deadline, settings.stop_deadline, settings.shutdown_deadline
    )


def make_table(
    configuration: Configuration,
    found: Sequence[Found],
    log: Log,
) -> Table:
    """The table with everything decided that needs no start."""
    disabled = configuration.settings.disabled_plugins
    rows = [
        Row(one, configuration.records.get(one.uri, NoConfig()))
        for one in reject_clashes(found, disabled)
    ]
    table = Table(rows, configuration)
    place(table, disabled, log)
    return table
