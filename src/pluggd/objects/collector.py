# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Collection: `collect`, `plan`, `explain` and `next_expiry` for a provider.

Follows candidates instead of walking the store: each is searched upward, what is
dead is removed in the same write transaction, and what it kept becomes a
candidate of the same collection. No fence protects what is created meanwhile,
because a verdict never outlives its transaction; a collection takes only what
became a candidate before it began, so it ends however busy the writers are.
docs/decisions/0001 has the argument.

Knows no storage and no event loop: the provider gives its `view`, `update` and a
lock, and may run the full mark elsewhere.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from itertools import islice
from time import perf_counter_ns
from typing import Any, Protocol, TypeVar

from pluggd.errors import AlreadyExists, Internal, ResourceExhausted
from pluggd.objects.explain import explain
from pluggd.objects.mark import MarkResult, mark, repair
from pluggd.objects.search import Life, Search
from pluggd.objects.transaction import ObjectTransaction, ObjectView
from pluggd.services import call
from pluggd.services.metadata import (
    CollectStats,
    Explanation,
    Node,
    Removed,
    ResourceType,
)

T = TypeVar("T")

BUDGET = 5_000_000
"""Time in ns after which a transaction of the collector ends at the next object."""

_BLOCK = 32
_MOST_OBJECTS = 1000
_MOST_FAILURES = 10
_MOST_GAINED = 1000
_MOST_INTERRUPTED = 20
_ALL = 1 << 62


class Store(Protocol):
    """What the collector needs of its provider: three methods of `Metadata`."""

    def read(self, function: Callable[[ObjectView], T]) -> T: ...

    async def view(self, function: Callable[[ObjectView], T]) -> T: ...

    async def update(
        self, function: Callable[[ObjectTransaction], T], *, reclaim: bool = False
    ) -> T: ...


Known = tuple[bytes, Life]
"""A node from which the loss of support was passed on to what it refers to."""


@dataclass
class _Step:
    """What one transaction did. Taken over by the collection after it committed."""

    removed: list[Node] = field(default_factory=list[Node])
    known: set[Known] = field(default_factory=set[Known])
    examined: int = 0
    pause: int = 0
    done: bool = False


@dataclass
class _Collection:
    generation: int = 0
    search: Search = field(default_factory=Search)
    unsure: bool = False
    failing: bytes | None = None
    failures: dict[bytes, Exception] = field(default_factory=dict[bytes, Exception])
    known: set[Known] = field(default_factory=set[Known])
    removed: Counter[str] = field(default_factory=Counter[str])
    objects: list[Removed] = field(default_factory=list[Removed])
    examined: int = 0
    pause: int = 0

    def add(self, step: _Step) -> None:
        self.unsure = False
        self.known |= step.known
        self.examined += step.examined
        self.pause = max(self.pause, step.pause)
        for node in step.removed:
            self.removed[node.type] += 1
            if len(self.objects) < _MOST_OBJECTS:
                self.objects.append(_removed(node))


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

    # --- types of objects

    def register(self, resource: ResourceType) -> None:
        """As in `Metadata`. Raises AlreadyExists."""
        if resource.type in self._resources:
            raise AlreadyExists(f'resource type "{resource.type}": already exists')
        self._resources[resource.type] = resource

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

    async def collect(self, *, full: bool = False) -> CollectStats:
        """As in `Metadata`.

        An object whose `collect` raises stays, with all that it keeps, and is tried
        again by the next collection. Raises Internal at the end when there were any.
        """
        async with self._lock:
            self._released = False
            try:
                return await self._collect(full)
            except BaseException:
                self._released = True
                raise

    async def _collect(self, full: bool) -> CollectStats:
        begun = perf_counter_ns()
        this = _Collection()
        this.generation = await self._store.update(_begin, reclaim=True)
        await self._until_done(this, _expire)
        if full:
            await self._take_mark(this, await self._run_mark())
        await self._until_done(this, self._step)
        freed = await self._clean_up()
        for error in this.failures.values():
            raise Internal(
                f"{len(this.failures)} objects could not be collected, "
                f"the first because: {error}"
            ) from error
        return CollectStats(
            removed=dict(sorted(this.removed.items())),
            objects=this.objects,
            examined=this.examined,
            pause=this.pause,
            elapsed=perf_counter_ns() - begun,
            freed_bytes=freed,
            full=full,
        )

    async def _until_done(
        self,
        this: _Collection,
        function: Callable[[ObjectTransaction, _Collection, _Step], bool],
    ) -> None:
        """Run the function in one transaction after the other until it returns True."""
        done = False
        while not done:
            try:
                step = await self._store.update(
                    lambda txn: _timed(txn, this, function), reclaim=True
                )
            except ResourceExhausted:
                raise
            except Exception as error:
                if this.failing is None or len(this.failures) >= _MOST_FAILURES:
                    raise
                self._log.exception("an object could not be collected")
                this.failures[this.failing] = error
            else:
                this.add(step)
                done = step.done

    def _step(self, txn: ObjectTransaction, this: _Collection, step: _Step) -> bool:
        graph, search = txn.writable_graph, this.search
        if this.unsure:
            # The last run of this function was rolled back, with what it removed.
            search.forget()
        this.unsure = True
        gained = graph.take_gained(_MOST_GAINED)
        if len(gained) < _MOST_GAINED:
            search.lose(gained)
        else:
            search.forget()
        deadline = perf_counter_ns() + self._budget
        while block := list(islice(graph.candidates(this.generation), _BLOCK)):
            for key in block:
                judged = self._judge(txn, this, step, key[8:], deadline)
                if judged:
                    graph.unqueue(key)
                if not judged or perf_counter_ns() > deadline:
                    graph.watch(True)
                    return False
        graph.watch(False)
        return True

    def _judge(
        self,
        txn: ObjectTransaction,
        this: _Collection,
        step: _Step,
        id_: bytes,
        deadline: int,
    ) -> bool:
        """Deal with one candidate; False when there was no time for it."""
        graph, search = txn.writable_graph, this.search
        row = graph.row(id_)
        if row is None or not row.exists:
            return True
        if id_ in this.failures:
            graph.queue(id_)
            return True
        # Who keeps giving support to a huge heap of garbage may not stop collection.
        patient = search.interrupted > _MOST_INTERRUPTED
        life = search.life(graph, id_, 0 if patient else deadline)
        if life is None:
            return False
        step.examined += 1
        if life is Life.FULL:
            return True
        resource = self._resource(row.node.type)
        if life is Life.DEAD and resource is not None and resource.collect is not None:
            self._remove(txn, this, resource.collect, id_, row.node)
            search.lose(graph.gained)
            graph.gained.clear()
            step.removed.append(row.node)
            return True
        # It stays, but no longer keeps (all of) what it refers to. Once for each
        # collection: what stays may refer to itself in circles.
        known = (id_, life)
        if known not in this.known and known not in step.known:
            step.known.add(known)
            graph.queue_targets(id_)
        return True

    def _remove(
        self,
        txn: ObjectTransaction,
        this: _Collection,
        collect: Callable[[ObjectTransaction, Node], None],
        id_: bytes,
        node: Node,
    ) -> None:
        try:
            with call.using(namespace=node.namespace, lease=""):
                collect(txn, node)
        except Exception:
            # Not wrapped: the error may be the store's own, which it must recognize.
            this.failing = id_
            raise
        txn.writable_graph.drop(id_)

    async def _clean_up(self) -> int:
        """Await each `cleanup` once; the bytes that they freed."""
        freed = 0
        functions: list[Callable[[], Coroutine[Any, Any, int]]] = []
        for resource in self._resources.values():
            if resource.cleanup is not None and resource.cleanup not in functions:
                functions.append(resource.cleanup)
        for cleanup in functions:
            try:
                freed += await cleanup()
            except Exception:  # noqa: BLE001 - promised: one backend stops no other
                self._log.exception("cleanup after a collection failed: %r", cleanup)
        return freed

    # --- the full mark

    async def _mark_in_view(self) -> MarkResult:
        return await self._store.view(lambda view: mark(view.kv, view.now))

    async def _take_mark(self, this: _Collection, result: MarkResult) -> None:
        """Make candidates of what the mark did not reach; they are searched again."""
        if result.broken:
            self._log.warning(
                "%d edges are missing at one end; repaired", len(result.broken)
            )
        for start in range(0, max(len(result.broken), len(result.unreached)), _BLOCK):
            broken = result.broken[start : start + _BLOCK]
            found = result.unreached[start : start + _BLOCK]

            def take(
                txn: ObjectTransaction,
                this: _Collection,
                _: _Step,
                broken: list[bytes] = broken,
                found: list[bytes] = found,
            ) -> bool:
                for edge in broken:
                    repair(txn.writable_graph, edge)
                for id_ in found:
                    txn.writable_graph.queue(id_, this.generation - 1)
                return True

            await self._until_done(this, take)

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
        return self._store.read(lambda view: view.graph.next_expiry())


def _timed(
    txn: ObjectTransaction,
    this: _Collection,
    function: Callable[[ObjectTransaction, _Collection, _Step], bool],
) -> _Step:
    # May run twice, when the provider rolls back and tries again.
    begun = perf_counter_ns()
    this.failing = None
    txn.by_collector = True
    txn.writable_graph.release_generation = this.generation - 1
    step = _Step()
    step.done = function(txn, this, step)
    step.pause = perf_counter_ns() - begun
    return step


def _begin(txn: ObjectTransaction) -> int:
    txn.by_collector = True
    txn.writable_graph.watch(False)
    return txn.writable_graph.begin_collection()


def _expire(txn: ObjectTransaction, this: _Collection, step: _Step) -> bool:
    """Turn what has expired into candidates."""
    del this, step
    block = list(islice(txn.graph.expired(), _BLOCK))
    for key in block:
        txn.writable_graph.expire(key)
    return len(block) < _BLOCK


def _candidates(view: ObjectView) -> deque[bytes]:
    keys = [*view.graph.candidates(_ALL), *view.graph.expired()]
    return deque(dict.fromkeys(key[8:] for key in keys))


def _removed(node: Node) -> Removed:
    return Removed(type=node.type, namespace=node.namespace, name=node.name)
