# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Starts plugins in order, keeps what they do apart, and stops them in reverse.

Each plugin lives in one task of its own, which enters its start, waits, and leaves it:
so cancel scopes and nurseries that it opens stay its own, and whatever it raises ends
there. Nothing here knows of sockets or files.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path
from typing import Any, cast

import trio

from pluggd.core import advice
from pluggd.core.context import PluginContext
from pluggd.core.failure import Failure, failure_of, waits_at
from pluggd.core.log import Log, current_plugin
from pluggd.core.protocols import mismatches
from pluggd.core.status import Status
from pluggd.core.table import Row, Table
from pluggd.core.watchdog import Watchdog
from pluggd.errors import InvalidArgument
from pluggd.plugin import Registration, Skip
from pluggd.struct import Struct, field

# Seconds that a cancelled plugin gets to notice it; cleaning up takes no longer.
PATIENCE = 1.0
# Seconds that each plugin gets to stop when there is no time left: enough to close a
# file, not to wait for anybody.
HURRIED = 0.2


class Deadlines(Struct, frozen=True):
    """Seconds: of each start, of each stop, and of all stops together."""

    start: float = 30.0
    stop: float = 10.0
    shutdown: float = 60.0


class _Life(Struct, eq=False):
    """One plugin between the beginning of its start and the end of its stop."""

    row: Row
    registration: Registration[Any, Any]
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    turn_over: trio.Event = field(default_factory=trio.Event)
    stop: trio.Event = field(default_factory=trio.Event)
    over: trio.Event = field(default_factory=trio.Event)
    tasks: trio.Nursery | None = None
    running: set[trio.CancelScope] = field(default_factory=set[trio.CancelScope])
    idle: trio.Event = field(default_factory=trio.Event)
    closing: bool = False
    waited_at: str = ""


class Lifecycle:
    """The lives of all plugins of one daemon.

    `start` may be called again, for plugins that were found since or stopped by `halt`;
    `stop` ends it. All run inside the nursery that is given here, which outlives them.
    """

    def __init__(
        self,
        table: Table,
        nursery: trio.Nursery,
        *,
        deadlines: Deadlines,
        log: Log,
        root: Path,
        state: Path,
        watchdog: Watchdog,
    ) -> None:
        self._table = table
        self._nursery = nursery
        self.deadlines = deadlines
        self._log = log
        self._root = root
        self._state = state
        self._watchdog = watchdog
        self._lives: list[_Life] = []
        self._stopping = False
        self._hurried = False

    # --- start

    async def start(self) -> None:
        """Give every plugin that is *found* its turn, in the order of the table;
        returns early when the daemon is to stop."""
        for row in list(self._table.rows):
            if self._stopping:
                return
            if row.status is not Status.FOUND or row.registration is None:
                continue
            obstacle = self._table.blocked(row)
            if obstacle is not None:
                reason, causes = obstacle
                self._table.move(row, Status.BLOCKED, reason, causes=causes)
                self._log_of(row).warning(
                    "plugin blocked", extra={"reason": row.state.reason}
                )
            else:
                await self._start_one(row, row.registration)

    async def _start_one(self, row: Row, registration: Registration[Any, Any]) -> None:
        life = _Life(row, registration)
        self._lives.append(life)
        self._table.move(row, Status.STARTING)
        deadline = registration.deadline or self.deadlines.start
        life.scope.deadline = trio.current_time() + deadline
        with self._watchdog.watch(row.uri, deadline + PATIENCE):
            self._nursery.start_soon(self._live, life, name=f"plugin {row.uri}")
            with trio.move_on_after(deadline + PATIENCE):
                await life.turn_over.wait()
        if row.status is Status.STARTING:
            self._too_late(row, advice.deaf("start did not return", deadline))

    def _too_late(self, row: Row, reason: str) -> None:
        self._failed(row, reason, code="deadline_exceeded")

    def _failed(self, row: Row, reason: str, *, code: str = "") -> None:
        self._table.move(row, Status.FAILED, reason, code=code)
        self._log_of(row).error("plugin failed", extra={"reason": row.state.reason})

    async def _live(self, life: _Life) -> None:
        row = life.row
        log = self._log_of(row)
        error: BaseException | None = None
        current_plugin.set(row.uri)
        try:
            with life.scope:
                async with trio.open_nursery() as tasks:
                    life.tasks = tasks
                    try:
                        await self._enter(life, log)
                    except (Exception, SystemExit, BaseExceptionGroup) as raised:  # noqa: BLE001 - the isolation
                        error = raised
            if error is not None:
                self._ended_with(life, error, log)
            else:
                self._ended(life, log)
        finally:
            # Also when an exception passes that is no business of a plugin.
            row.instance = None
            self._let_go(row, log)
            life.turn_over.set()
            life.over.set()

    @staticmethod
    def _let_go(row: Row, log: Log) -> None:
        """Undo what it began with others, whatever became of it."""
        while row.on_stop:
            undo = row.on_stop.pop()
            try:
                undo()
            except Exception:
                log.exception("plugin cannot let go of something")

    async def _enter(self, life: _Life, log: Log) -> None:
        row, registration = life.row, life.registration
        context = PluginContext[Any](
            row,
            registration,
            row.config,
            self._table,
            root=self._root / row.uri,
            state=self._state / row.uri,
            log=log,
            spawn=lambda function, args, name: self._spawn(life, function, args, name),
        )
        try:
            async with registration.start(context) as instance:
                self._check(registration, instance)
                if row.status is not Status.STARTING or life.scope.cancel_called:
                    # Too late: it was given up on, or the daemon is stopping.
                    await trio.lowlevel.checkpoint()
                    return
                row.instance = instance
                life.scope.deadline = math.inf
                self._table.move(row, Status.OK)
                log.info(
                    "plugin started", extra={"took_ms": row.state.took // 1_000_000}
                )
                life.turn_over.set()
                await life.stop.wait()
                await self._end_tasks(life)
        except BaseException as error:
            if life.scope.cancel_called:
                life.waited_at = waits_at(error, row.found.path)
            raise
        finally:
            life.closing = True
            for scope in list(life.running):
                scope.cancel()

    @staticmethod
    def _check(registration: Registration[Any, Any], instance: object) -> None:
        wrong = mismatches(registration.provides, instance)
        if wrong:
            raise InvalidArgument(
                f"{type(instance).__qualname__} does not keep the interface of"
                f" {registration.provides.name}: {'; '.join(wrong)}: invalid argument"
            )

    def _ended(self, life: _Life, log: Log) -> None:
        """The task is over without an exception; what that means depends on when."""
        row = life.row
        match row.status:
            case Status.STARTING if self._stopping:
                self._table.move(
                    row, Status.STOPPED, "the daemon stopped during its start"
                )
            case Status.STARTING:
                deadline = life.registration.deadline or self.deadlines.start
                self._too_late(row, advice.start_too_long(deadline, life.waited_at))
            case Status.OK:
                self._failed(row, "start ended before it was told to")
            case Status.STOPPING if life.scope.cancelled_caught and not self._hurried:
                seconds = self._stop_deadline(life)
                self._too_late(row, advice.stop_too_long(seconds, life.waited_at))
            case Status.STOPPING if life.scope.cancelled_caught:
                self._table.move(row, Status.STOPPED, "hurried")
                log.warning("plugin stopped in a hurry")
            case Status.STOPPING:
                self._table.move(row, Status.STOPPED)
                log.debug("plugin stopped")
            case _:
                pass

    def _ended_with(self, life: _Life, error: BaseException, log: Log) -> None:
        row = life.row
        skip = _only_skip(error)
        if skip is not None and row.status is Status.STARTING:
            reason = str(skip) or "no reason given"
            self._table.move(row, Status.SKIPPED, reason)
            log.info("plugin skipped", extra={"reason": reason})
            return
        failure = failure_of(error)
        verdict = advice.of_generator(error)
        reason = verdict or failure.reason
        if row.status in (Status.STARTING, Status.OK, Status.STOPPING):
            during = " while stopping" if row.status is Status.STOPPING else ""
            self._table.fail(row, Failure(reason + during, failure.code))
            reason = row.state.reason
        log.error(
            "plugin failed",
            exc_info=error if failure.traceback and not verdict else None,
            extra={"reason": reason},
        )

    # --- background tasks

    def _spawn(
        self,
        life: _Life,
        function: Callable[..., Awaitable[object]],
        args: tuple[object, ...],
        name: str,
    ) -> None:
        if life.closing or life.tasks is None:
            raise RuntimeError(f"plugin {life.row.uri} is stopping: no new tasks")
        life.tasks.start_soon(
            self._run_task, life, function, args, name, name=f"{life.row.uri}: {name}"
        )

    async def _run_task(
        self,
        life: _Life,
        function: Callable[..., Awaitable[object]],
        args: tuple[object, ...],
        name: str,
    ) -> None:
        scope = trio.CancelScope()
        life.running.add(scope)
        life.row.tasks = len(life.running)
        current_plugin.set(life.row.uri)
        try:
            with scope:
                if life.closing:
                    return
                await function(*args)
        except (Exception, SystemExit, BaseExceptionGroup) as error:  # noqa: BLE001 - the isolation
            self._task_failed(life, name, error)
        finally:
            life.running.discard(scope)
            life.row.tasks = len(life.running)
            if not life.running:
                life.idle.set()

    def _task_failed(self, life: _Life, name: str, error: BaseException) -> None:
        row = life.row
        failure = failure_of(error)
        reason = f"task {name}: {failure.reason}"
        self._log_of(row).error(
            "plugin failed", exc_info=error, extra={"reason": reason}
        )
        if row.status is Status.STARTING:
            # Its start would never know: end it with the same reason.
            self._table.move(row, Status.FAILED, reason, code=failure.code)
            life.scope.cancel()
        elif row.status in (Status.OK, Status.STOPPING):
            self._table.move(row, Status.FAILED, reason, code=failure.code)

    async def _end_tasks(self, life: _Life) -> None:
        life.closing = True
        await trio.lowlevel.checkpoint()
        for scope in list(life.running):
            scope.cancel()
        while life.running:
            life.idle = trio.Event()
            await life.idle.wait()

    # --- stop

    async def halt(self, rows: Collection[Row]) -> list[Row]:
        """Stop some plugins of a daemon that goes on, in reverse order of start.

        Returns those whose task would not end: they stay *failed*, and only the end of
        the process removes their code.
        """
        stuck = [
            life.row
            for life in reversed(self._lives)
            if life.row in rows and not await self._stop_one(life, math.inf)
        ]
        self._lives = [life for life in self._lives if not life.over.is_set()]
        return stuck

    def alive(self, row: Row) -> bool:
        """Whether something of the plugin still runs, also of one that failed."""
        return any(life.row is row and not life.over.is_set() for life in self._lives)

    @property
    def stopping(self) -> bool:
        return self._stopping

    async def stop(self) -> list[str]:
        """End all lives in reverse order, each within its deadline and all within one.

        Returns the URIs of plugins whose task would not end: their code is still
        there, and only the end of the process removes it.
        """
        self.interrupt()
        end = trio.current_time() + self.deadlines.shutdown
        return [
            life.row.uri
            for life in reversed(self._lives)
            if not await self._stop_one(life, end)
        ]

    def interrupt(self) -> None:
        """End a start that is going on. Safe at any time."""
        if self._stopping:
            return
        self._stopping = True
        for life in self._lives:
            if life.row.status is Status.STARTING:
                life.scope.cancel()

    def hurry(self) -> None:
        """Cancel the stop that is going on; those still to come get HURRIED seconds."""
        self._hurried = True
        for life in self._lives:
            if life.stop.is_set():
                life.scope.cancel()

    async def _stop_one(self, life: _Life, end: float) -> bool:
        row = life.row
        if life.over.is_set():
            return True
        if row.status is Status.OK:
            self._table.move(row, Status.STOPPING)
        left = 0.0 if self._hurried else end - trio.current_time()
        seconds = min(self._stop_deadline(life), max(left, HURRIED))
        gave_up_before = row.status is Status.FAILED and not life.turn_over.is_set()
        life.scope.deadline = min(life.scope.deadline, trio.current_time() + seconds)
        life.stop.set()
        with self._watchdog.watch(row.uri, seconds + 2 * PATIENCE):
            with trio.move_on_after(0 if gave_up_before else seconds + PATIENCE):
                await life.over.wait()
        if life.over.is_set():
            return True
        if row.status in (Status.STOPPING, Status.STARTING):
            self._too_late(row, advice.deaf("stop did not end", seconds))
        return False

    def _stop_deadline(self, life: _Life) -> float:
        return life.registration.deadline or self.deadlines.stop

    def _log_of(self, row: Row) -> Log:
        return self._log.with_fields(plugin=row.uri)


def _only_skip(error: BaseException) -> Skip | None:
    """A nursery around `raise Skip` wraps it."""
    if not isinstance(error, BaseExceptionGroup):
        return error if isinstance(error, Skip) else None
    inner = cast("BaseExceptionGroup[BaseException]", error).exceptions
    return _only_skip(inner[0]) if len(inner) == 1 else None
