# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Collection: `collect`, `plan`, `explain` and `next_expiry` for a provider.

Follows candidates instead of walking the store: each is searched upward, what is
dead is removed in the same write transaction, and what it kept becomes a
candidate of the same collection (`sweep.py`). A collection takes only what became a
candidate before it began, so it ends however busy the writers are.
docs/decisions/0001 has the argument.

Knows no storage and no event loop: the provider gives its `view`, `update` and a
lock, and may run the full mark elsewhere.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from time import perf_counter_ns
from typing import Any, Protocol, TypeVar

from pluggd.errors import AlreadyExists, Internal, PluggdError, ResourceExhausted
from pluggd.objects.explain import explain
from pluggd.objects.joined import joined_view
from pluggd.objects.mark import MarkResult, mark
from pluggd.objects.search import Life, Search
from pluggd.objects.sweep import Known, Step, Sweep
from pluggd.objects.transaction import ObjectTransaction, ObjectView
from pluggd.services.metadata import (
    CollectStats,
    Explanation,
    Node,
    Removed,
    ResourceType,
)

T = TypeVar("T")

BUDGET = 1_000_000
"""Time in ns after which a transaction of the collector ends at the next object. It may run
where requests are served, and everybody waits for it."""

_PART = 100
_MOST_FAILURES = 10
_ALL = 1 << 62


class Store(Protocol):
    """What the collector needs of its provider: three methods of `Metadata`."""

    def read(self, function: Callable[[ObjectView], T]) -> T: ...

    async def view(self, function: Callable[[ObjectView], T]) -> T: ...

    async def update(
        self, function: Callable[[ObjectTransaction], T], *, reclaim: bool = False
    ) -> T: ...


class Collector:
    """One per store.

    lock: makes collections wait for each other (a `trio.Lock`).
    run_mark: where the full mark runs; by default `mark` in a view. It returns
        `mark(kv, now)` of one consistent state, at least as new as its call.
    budget: see `BUDGET`; with 0, a transaction does the least that is progress.
    """

    def __init__(
        self,
        store: Store,
        lock: AbstractAsyncContextManager[object],
        log: logging.Logger | logging.LoggerAdapter[logging.Logger],
        *,
        run_mark: Callable[[], Awaitable[MarkResult]] | None = None,
        budget: int = BUDGET,
    ) -> None:
        self._store = store
        self._lock = lock
        self._log = log
        self._run_mark = run_mark or self._mark_in_view
        self._resources: dict[str, ResourceType] = {}
        self._budget = budget
        self._released = True
        # What expires next, as far as it is known without looking.
        self._expiry: int | None = None
        self._expiry_known = False

    # --- types of objects

    def register(self, resource: ResourceType) -> Callable[[], None]:
        """As in `Metadata`. Raises AlreadyExists."""
        if resource.type in self._resources:
            raise AlreadyExists(f'resource type "{resource.type}": already exists')
        self._resources[resource.type] = resource

        def undo() -> None:
            if self._resources.get(resource.type) is resource:
                del self._resources[resource.type]

        return undo

    def resources(self) -> Sequence[ResourceType]:
        return tuple(self._resources.values())

    def _resource(self, type_: str) -> ResourceType | None:
        exact = self._resources.get(type_)
        if exact is not None:
            return exact
        for resource in self._resources.values():
            if resource.type.endswith("/") and type_.startswith(resource.type):
                return resource
        return None

    def note_commit(self, released: bool) -> bool:
        """The argument for `on_change` functions after a commit.

        released: of its transactions, any. True from then on until a collection
        begins, because what was set free is still there.
        """
        self._released = self._released or released
        return self._released

    # --- collecting

    async def collect(
        self, *, full: bool = False, limit: int = 0, keep_for: float = 0
    ) -> CollectStats:
        """As in `Metadata`.

        An object whose `collect` raises stays, with all that it keeps, and is tried
        again by the next collection. Raises Internal at the end when there were any.
        """
        async with self._lock:
            self._released = False
            try:
                stats = await self._collect(full, limit, int(keep_for * 1e9))
            except BaseException:
                self._released = True
                raise
            # What was left is there to be collected, as before.
            self._released = self._released or stats.more or keep_for > 0
            return stats

    async def _collect(self, full: bool, limit: int, keep_for: int) -> CollectStats:
        begun = perf_counter_ns()
        sweep = Sweep(self._resource, self._budget, limit=limit, keep_for=keep_for)
        if full:
            await self._until_done(sweep, sweep.expire)
            await self._take_mark(sweep, await self._run_mark())
        if full or self._store.read(_has_work):
            await self._until_done(sweep, sweep.sweep)
        freed, left = await self._clean_up()
        for error in sweep.failures.values():
            raise Internal(
                f"{len(sweep.failures)} objects could not be collected, "
                f"the first because: {error}"
            ) from error
        return CollectStats(
            removed=dict(sorted(sweep.removed.items())),
            objects=sweep.objects,
            examined=sweep.examined,
            pause=sweep.pause,
            elapsed=perf_counter_ns() - begun,
            freed_bytes=sum(freed.values()),
            full=full,
            freed=freed,
            more=sweep.more,
            left=left,
        )

    async def _until_done(
        self, sweep: Sweep, function: Callable[[ObjectTransaction], Step]
    ) -> None:
        """Run the function in one transaction after the other until it is done."""
        done = False
        while not done:
            try:
                step = await self._store.update(function, reclaim=True)
            except ResourceExhausted:
                raise
            except Exception as error:
                if sweep.failing is None or len(sweep.failures) >= _MOST_FAILURES:
                    raise
                self._log.exception("an object could not be collected")
                sweep.failures[sweep.failing] = error
            else:
                sweep.add(step)
                done = step.done

    async def _clean_up(self) -> tuple[dict[str, int], dict[str, str]]:
        """Await each `cleanup` once; the bytes that they freed, and why they could not
        free all, by type."""
        freed: dict[str, int] = {}
        left: dict[str, str] = {}
        functions: dict[Callable[[], Coroutine[Any, Any, int]], str] = {}
        for resource in self._resources.values():
            if resource.cleanup is not None:
                functions.setdefault(resource.cleanup, resource.type)
        for cleanup, type_ in functions.items():
            try:
                count = await cleanup()
                if count:
                    freed[type_] = count
            except PluggdError as error:
                left[type_] = error.message
                self._log.warning("what is left of %s goes later: %s", type_, error)
            except Exception as error:  # noqa: BLE001 - promised: one stops no other
                left[type_] = str(error) or type(error).__name__
                self._log.exception("cleanup after a collection failed: %r", cleanup)
        return freed, left

    # --- the full mark

    async def _mark_in_view(self) -> MarkResult:
        return await self._store.view(lambda view: mark(view.kv, view.now))

    async def _take_mark(self, sweep: Sweep, result: MarkResult) -> None:
        """Make candidates of what the mark did not reach; they are searched again."""
        if result.broken:
            self._log.warning(
                "%d edges are missing at one end; repaired", len(result.broken)
            )
        for start in range(0, max(len(result.broken), len(result.unreached)), _PART):
            part = MarkResult(
                broken=result.broken[start : start + _PART],
                unreached=result.unreached[start : start + _PART],
            )
            await self._until_done(sweep, partial(_take, sweep, part))

    # --- questions

    async def plan(self) -> list[Removed]:
        """As in `Metadata`. Reads in several short views; exact when nothing changes."""
        known: set[Known] = set()
        queue = await self._store.view(_candidates)
        found: list[Removed] = []

        search = Search()

        def look(view: ObjectView) -> None:
            deadline = perf_counter_ns() + self._budget
            done = False
            while queue and not done:
                id_ = queue[0]
                row = view.graph.row(id_)
                life: Life | None = Life.FULL
                if row is not None and row.exists:
                    life = search.life(view.graph, id_, deadline)
                if life is None:
                    return
                queue.popleft()
                done = perf_counter_ns() > deadline
                if row is None or life is Life.FULL or (id_, life) in known:
                    continue
                known.add((id_, life))
                resource = self._resource(row.node.type)
                if life is Life.DEAD and resource is not None and resource.collect:
                    found.append(_removed(row.node))
                queue.extend(target for target, _ in view.graph.targets(id_))

        while queue:
            await self._store.view(look)
        return sorted(found, key=lambda one: (one.type, one.namespace, one.name))

    async def explain(self, node: Node) -> Explanation:
        return await self._store.view(lambda view: explain(view.graph, node))

    def next_expiry(self) -> int | None:
        if self._expiry_known:
            return self._expiry
        found = self._store.read(lambda view: view.graph.next_expiry())
        if joined_view() is None:  # else it may be undone yet
            self._expiry, self._expiry_known = found, True
        return found

    def note_expiry(self) -> None:
        """A commit has set or taken a time at which something expires."""
        self._expiry_known = False


def _take(sweep: Sweep, part: MarkResult, txn: ObjectTransaction) -> Step:
    return sweep.take_mark(txn, part)


def _has_work(view: ObjectView) -> bool:
    """Whether a sweep would find anything to look at: else it need not commit."""
    return any(True for _ in view.graph.candidates(_ALL)) or any(
        True for _ in view.graph.expired()
    )


def _candidates(view: ObjectView) -> deque[bytes]:
    ids = [key[8:] for key, _ in view.graph.candidates(_ALL)]
    ids += [id_ for _, id_ in view.graph.expired()]
    return deque(dict.fromkeys(ids))


def _removed(node: Node) -> Removed:
    return Removed(type=node.type, namespace=node.namespace, name=node.name)
