# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The plugins of one daemon: a row each, with its state, and who provides what.

What the lifecycle changes and everybody else reads. Nothing here waits or starts
anything; a daemon has one table and nobody shares it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

from pluggd.core.arguments import did_you_mean
from pluggd.core.discovery import Found
from pluggd.core.failure import Failure
from pluggd.core.graph import choose
from pluggd.core.status import State, Status, chain, move
from pluggd.errors import NotFound, PluggdError, Unavailable
from pluggd.model.record import Record
from pluggd.model.types import Platform
from pluggd.plugin import FigureSource, NoConfig, Registration
from pluggd.services.introspection import Cause, PluginInfo


@dataclass(eq=False)
class Row:
    """One plugin. `instance`: what its start yielded, from *ok* on. `tasks`: how many it
    has in the background."""

    found: Found
    config: Record = field(default_factory=NoConfig)
    state: State = field(default_factory=State)
    instance: Any = None
    had_turn: bool = False
    exports: dict[str, str] = field(default_factory=dict[str, str])
    capabilities: list[str] = field(default_factory=list[str])
    platforms: list[Platform] = field(default_factory=list[Platform])
    on_stop: list[Callable[[], object]] = field(
        default_factory=list[Callable[[], object]]
    )
    on_reload: Callable[[Any], None] | None = None
    figures: list[FigureSource] = field(default_factory=list[FigureSource])
    tasks: int = 0
    degraded: str = ""

    @property
    def uri(self) -> str:
        return self.found.uri

    @property
    def status(self) -> Status:
        return self.state.status

    @property
    def registration(self) -> Registration[Any, Any] | None:
        return self.found.registration

    @property
    def kind(self) -> str:
        return self.registration.provides.name if self.registration else ""

    def uses(self, kinds: Collection[str]) -> bool:
        """Whether it requires or wants one of these kinds."""
        registration = self.registration
        return registration is not None and any(
            kind.name in kinds for kind in (*registration.requires, *registration.wants)
        )

    @property
    def reason(self) -> str:
        """Of its status; of one that is ok, what it says is not well."""
        return self.degraded if self.status is Status.OK else self.state.reason

    def cause(self) -> Cause:
        return Cause(uri=self.uri, status=self.status.value, reason=self.state.reason)

    def info(self) -> PluginInfo:
        registration = self.registration
        return PluginInfo(
            uri=self.uri,
            kind=self.kind,
            id=registration.id if registration else "",
            status=self.status.value,
            reason=self.reason,
            code=self.state.code,
            causes=list(self.state.causes),
            requires=[kind.name for kind in registration.requires]
            if registration
            else [],
            wants=[kind.name for kind in registration.wants] if registration else [],
            platforms=list(self.platforms),
            exports=dict(self.exports),
            capabilities=list(self.capabilities),
            origin=self.found.origin
            if self.found.origin == "bundled"
            else f"{self.found.origin}: {self.found.path}",
            description=registration.description if registration else "",
            since=self.state.since,
            took=self.state.took,
            tasks=self.tasks,
        )


class Table:
    """All rows, in order of start; those that never get a turn come last, by URI."""

    def __init__(
        self, rows: Iterable[Row], selected: Callable[[str], str] = lambda kind: ""
    ) -> None:
        self.rows = list(rows)
        self._selected = selected
        self.on_change: Callable[[Row], None] = lambda row: None

    def move(
        self,
        row: Row,
        status: Status,
        reason: str = "",
        *,
        code: str = "",
        causes: tuple[Cause, ...] = (),
    ) -> None:
        row.state = move(
            row.state,
            status,
            now=time.time_ns(),
            reason=reason,
            code=code,
            causes=causes,
        )
        row.had_turn = row.had_turn or status is Status.STARTING
        self.on_change(row)

    def fail(self, row: Row, failure: Failure) -> None:
        self.move(row, Status.FAILED, failure.reason, code=failure.code)

    def sort(self, order: Iterable[str]) -> None:
        place = {uri: index for index, uri in enumerate(order)}
        last = len(place)

        def key(row: Row) -> tuple[int, str, str]:
            broken = row.found.failure is not None or row.status is Status.DISABLED
            index = last if broken else place.get(row.uri, last)
            return index, row.uri, row.found.path

        self.rows.sort(key=key)

    def again(self, row: Row) -> None:
        """Give a plugin of which nothing runs another turn, as if it had had none."""
        self.move(row, Status.FOUND)
        row.instance = None
        row.exports.clear()
        row.figures.clear()
        row.capabilities.clear()
        row.platforms.clear()
        row.on_reload = None
        row.degraded = ""

    def find(self, uri: str) -> Row:
        """Raises NotFound, with the nearest name."""
        for row in self.rows:
            if row.uri == uri:
                return row
        hint = did_you_mean(uri, (row.uri for row in self.rows))
        raise NotFound(f'plugin "{uri}": not found{hint}')

    def dependents(self, rows: Iterable[Row]) -> list[Row]:
        """These rows and whatever requires or wants what they provide, directly or
        not, in order of start: who has to let go before they can stop."""
        chosen = set(rows)
        kinds = {row.kind for row in chosen}
        grown = True
        while grown:
            grown = False
            for row in self.rows:
                if row not in chosen and row.uses(kinds):
                    chosen.add(row)
                    kinds.add(row.kind)
                    grown = True
        return [row for row in self.rows if row in chosen]

    def infos(self) -> list[PluginInfo]:
        """In order of start, then those that never were started, by URI."""
        never = sorted(
            (row for row in self.rows if not row.had_turn), key=lambda row: row.uri
        )
        started = [row for row in self.rows if row.had_turn]
        return [row.info() for row in (*started, *never)]

    def working(self, kind: str) -> dict[str, Row]:
        """The rows of a kind that are ok, by id."""
        return {
            row.found.registration.id: row
            for row in self.rows
            if row.found.registration is not None
            and row.kind == kind
            and row.status is Status.OK
        }

    def single(self, kind: str) -> Row | None:
        """The row that counts for a kind, or None when none is ok.

        Raises FailedPrecondition when several could be meant.
        """
        working = self.working(kind)
        id_ = choose(kind, working, self._selected(kind))
        return None if id_ is None else working[id_]

    def obstacle(self, kind: str) -> tuple[Cause, ...]:
        """Why no plugin works for a kind, down to the first cause; () when one does.

        Of several that do not work, the selected one is told, or the first.
        """
        selected = self._selected(kind)
        rows = [row for row in self.rows if row.kind == kind]
        if selected:
            rows = [
                row
                for row in rows
                if row.registration is not None and row.registration.id == selected
            ]
        if any(row.status is Status.OK for row in rows):
            return ()
        if not rows:
            broken = [row for row in self.rows if not row.kind]
            reason = "no plugin provides it"
            if broken:
                reason += ", unless it is one that could not be loaded: " + ", ".join(
                    row.uri for row in broken
                )
            return (Cause(uri=kind, status="missing", reason=reason),)
        return (rows[0].cause(), *rows[0].state.causes)

    def blocked(self, row: Row) -> tuple[str, tuple[Cause, ...]] | None:
        """(reason, causes) when something that the row requires is not ok."""
        if row.registration is None:
            return None
        for kind in row.registration.requires:
            causes = self.obstacle(kind.name)
            if causes:
                causes = _without_repetition(causes)
                return f"requires {kind.name}, because {chain(causes)}", causes
        return None

    def why_unavailable(self, kind: str) -> PluggdError:
        """What a caller of a service that nobody provides just now is told."""
        causes = _without_repetition(self.obstacle(kind))
        service = kind.partition(".")[2]
        return Unavailable(
            f"service {service} is not available, because {chain(causes)}: unavailable"
        )


def _without_repetition(causes: tuple[Cause, ...]) -> tuple[Cause, ...]:
    """A blocked link is explained by the next one; its own text would say it twice."""
    return tuple(
        Cause(uri=cause.uri, status=cause.status)
        if cause.status == Status.BLOCKED.value
        else cause
        for cause in causes
    )
