# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The plugins of one daemon: a row each, with its state, and who provides what.

What the lifecycle changes and everybody else reads. Nothing here waits or starts
anything; a daemon has one table and nobody shares it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pluggd.core.advice import FIND_ONE, nobody_provides, with_file
from pluggd.core.arguments import did_you_mean
from pluggd.core.choosing import Choice, NoChoice, layer
from pluggd.core.discovery import Found
from pluggd.core.failure import Failure
from pluggd.core.graph import choose
from pluggd.core.status import State, Status, chain, move
from pluggd.errors import NotFound, PluggdError, Unavailable
from pluggd.model.record import Record, replace
from pluggd.model.types import Platform
from pluggd.plugin import FigureSource, NoConfig, Registration
from pluggd.services.introspection import Cause, PluginInfo
from pluggd.struct import Struct, field


def _distance(row: Row) -> tuple[bool, bool, bool]:
    """How far a row that does not work is from providing its kind."""
    assert row.registration is not None
    return (
        row.registration.decorates,
        row.status is Status.DISABLED,
        row.registration.alternative,
    )


_MANY = 1 << 30
"""More layers than there are."""


class Row(Struct, eq=False):
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

    @property
    def id(self) -> str:
        return self.registration.id if self.registration else ""

    def uses(self, kinds: Iterable[str]) -> bool:
        """Whether it requires or wants one of these kinds."""
        registration = self.registration
        names = set(kinds)
        return registration is not None and any(
            kind.name in names for kind in (*registration.requires, *registration.wants)
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
            id=self.id,
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
    """All rows, in order of start; those that never get a turn come last, by URI.

    choice: what the configuration in force says about kinds with several providers.
    """

    def __init__(self, rows: Iterable[Row], choice: Choice | None = None) -> None:
        self.rows = list(rows)
        self.choice: Choice = NoChoice() if choice is None else choice
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
        """Of one that does not work, the reason names its file: see `advice.with_file`."""
        if status in (Status.FAILED, Status.BLOCKED):
            reason = with_file(row.found, reason)
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
        uris = [row.uri for row in self.rows]
        holding = [one for one in uris if uri in one.split(".")]
        hint = did_you_mean(uri, uris) or "".join(
            f'; did you mean "{one}"?' for one in holding[:1]
        )
        raise NotFound(f'plugin "{uri}": not found{hint}')

    def dependents(self, rows: Iterable[Row]) -> list[Row]:
        """These rows and whatever requires, wants or decorates what they provide,
        directly or not, in order of start: who has to let go before they can stop.

        Of the others, a disabled plugin has nothing to let go of.
        """
        chosen = set(rows)
        lowest: dict[str, int] = {}

        def note(row: Row) -> None:
            lowest[row.kind] = min(self.layer(row), lowest.get(row.kind, _MANY))

        for row in chosen:
            note(row)
        grown = True
        while grown:
            grown = False
            for row in self.rows:
                if row in chosen or row.status is Status.DISABLED:
                    continue
                if row.uses(lowest) or self.layer(row) > lowest.get(row.kind, _MANY):
                    chosen.add(row)
                    note(row)
                    grown = True
        return [row for row in self.rows if row in chosen]

    def infos(self) -> list[PluginInfo]:
        """In order of start, then those that never were started, by URI."""
        never = sorted(
            (row for row in self.rows if not row.had_turn), key=lambda row: row.uri
        )
        started = [row for row in self.rows if row.had_turn]
        return [self.info(row) for row in (*started, *never)]

    def info(self, row: Row) -> PluginInfo:
        """As the row itself says it, and what it decorates."""
        info = row.info()
        if not self.layer(row) or row.status is Status.DISABLED:
            return info
        try:
            below = self.single(row.kind, below=row)
        except PluggdError:
            below = None  # several could be meant, which is in its reason
        return replace(info, decorates=row.kind if below is None else below.uri)

    # --- who counts for a kind

    def layer(self, row: Row) -> int:
        """0, or of a decorator its place over the providers of its kind, from 1."""
        return layer(row.registration, self.choice) if row.registration else 0

    def working(self, kind: str) -> dict[str, Row]:
        """The rows of a kind that are ok, by id, without what decorates them."""
        return {
            row.id: row
            for row in self._providers(kind)
            if row.status is Status.OK and not self.layer(row)
        }

    def instances(self, kind: str) -> Mapping[str, Any]:
        """What the working providers of a kind yielded, by id; in place of the one that
        counts what decorates it, or nothing while that does not work.

        Raises FailedPrecondition when something decorates and several could be meant.
        """
        working = self.working(kind)
        found = {id_: row.instance for id_, row in working.items()}
        if self._decorators(kind):
            base = choose(kind, working, self.choice.selected(kind))
            outermost = self.single(kind)
            if base is not None:
                del found[base]
                if outermost is not None:
                    found[base] = outermost.instance
        return found

    def single(self, kind: str, below: Row | None = None) -> Row | None:
        """The row that counts for a kind, or None when it is not ok, or something below
        it is not: what decorates may be what forbids. below: the row that would count
        without this decorator and those over it.

        Raises FailedPrecondition when several could be meant.
        """
        working = self.working(kind)
        id_ = choose(kind, working, self.choice.selected(kind))
        if id_ is None:
            return None
        row = working[id_]
        for _, decorator in self._decorators(kind, below):
            if decorator is None or decorator.status is not Status.OK:
                return None
            row = decorator
        return row

    def _providers(self, kind: str) -> list[Row]:
        return [row for row in self.rows if row.registration and row.kind == kind]

    def _decorators(
        self, kind: str, below: Row | None = None
    ) -> list[tuple[str, Row | None]]:
        """(id, row) of what is put over a kind, the innermost first; None for a plugin
        that could not be loaded. What is disabled is passed over."""
        rows = {row.id: row for row in self._providers(kind) if self.layer(row)}
        found: list[tuple[str, Row | None]] = []
        for id_ in self.choice.decorators(kind):
            row = rows.get(id_)
            if row is not None and row is below:
                break
            if row is None or row.status is not Status.DISABLED:
                found.append((id_, row))
        return found

    def obstacle(self, kind: str, below: Row | None = None) -> tuple[Cause, ...]:
        """Why no plugin works for a kind, down to the first cause; () when one does.

        Of several that do not work, the selected one is told, or the one that comes
        nearest to working: what would not start without a choice comes last. below: as in
        `single`.
        """
        selected = self.choice.selected(kind)
        rows = [row for row in self._providers(kind) if not self.layer(row)]
        rows.sort(key=_distance)
        if selected:
            rows = [row for row in rows if row.id == selected]
        if any(row.status is Status.OK for row in rows):
            for id_, decorator in self._decorators(kind, below):
                if decorator is None:
                    uri = f"{kind}.{id_}"
                    reason = "[decorate] names it, and it could not be loaded"
                    return (Cause(uri=uri, status="missing", reason=reason),)
                if decorator.status is not Status.OK:
                    return (decorator.cause(), *decorator.state.causes)
            return ()
        if not rows:
            reason = nobody_provides(
                kind,
                {row.kind for row in self.rows if row.kind},
                (row.uri for row in self.rows if not row.kind),
            )
            return (Cause(uri=kind, status="missing", reason=reason),)
        return (rows[0].cause(), *rows[0].state.causes)

    def blocked(self, row: Row) -> tuple[str, tuple[Cause, ...]] | None:
        """(reason, causes) when something that the row requires is not ok."""
        if row.registration is None:
            return None
        kinds = [(kind.name, "requires") for kind in row.registration.requires]
        if self.layer(row):
            kinds.append((row.kind, "decorates"))
        for kind, how in kinds:
            causes = self.obstacle(kind, row if kind == row.kind else None)
            if causes:
                causes = _without_repetition(causes)
                reason = f"{how} {kind}, because {chain(causes)}"
                if causes[0].uri == kind and how == "requires":
                    reason += FIND_ONE
                return reason, causes
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
