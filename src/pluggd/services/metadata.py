# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The metadata store: ordered tables, transactions as functions, what keeps what.

Every store of pluggd keeps its records here, so one transaction can change
several of them. A provider promises:

- A transaction is a function. It is synchronous and short (or says that it is long),
  it may run in another thread, and its `View` or `Transaction` is dead when it returns.
  If it raises, nothing of it happened and the error reaches the caller unchanged. It
  may be rolled back and run again, so it changes nothing outside that would count twice.
- `update` returns after the change is durable. Updates are applied one after the
  other, in an order that every reader agrees on; several may share one commit.
- An `update` or `view` called where a transaction is already under way (in its
  function, through `Transaction.run`) joins it.
- Reads see one consistent state and never wait for a writer.
- An event recorded with `emit` exists if and only if its transaction committed.
- When the disk or the quota is full, `update` raises ResourceExhausted, and one
  with `reclaim=True` still works.
- A key is a namespace and a name; names have any length, and listings are in
  byte order of the full name.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

from pluggd.deferred import Deferred
from pluggd.model.record import Record
from pluggd.services.fsck import Check
from pluggd.services.kind import Kind
from pluggd.services.rpc import rpc
from pluggd.struct import Struct

T = TypeVar("T")

NEVER = 0
FOREVER = -1
"""For `root_until`: this object is no root; it is one as long as it exists."""


class Node(NamedTuple):
    """An object as the collector knows it: type, namespace, name."""

    type: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.type} {self.namespace}/{self.name}"


CONTENT = "content"
IMAGE = "image"
CONTAINER = "container"
LEASE = "lease"
INGEST = "ingest"
SNAPSHOT = "snapshot/"
"""Node types. A snapshotter `native` has the type `snapshot/native`."""


class Edge(NamedTuple):
    """`target` lives while the node that states this edge does.

    back: the other way round, the stating node lives while `target` does.
    structural: followed also below a flat lease (a snapshot's parent).
    """

    target: Node
    back: bool = False
    structural: bool = False


class ResourceType(Struct, frozen=True):
    """How one type of object takes part in collection.

    type: the node type. A type ending in `/` stands for all that begin with it.
    collect: remove the record of a node that nothing keeps, and emit its event,
        in the given transaction. It need not call `drop_node`. None: objects of
        this type are never collected.
    plural: for messages (`images`, `blobs`).
    blocks_namespace: a namespace that still has one cannot be deleted; others are
        dropped with it, through `collect`.
    cleanup: awaited once at the end of a collection (and so before a synchronous
        delete returns), outside any transaction: remove from the backend what the
        removed records named. Returns the bytes freed. An error is logged, stands in
        `CollectStats.left`, and does not fail the collection; what was left is to be
        remembered, and is tried again by the next.
    check: compare this store's files with its records (`pluggd.services.fsck`).
    """

    type: str
    plural: str
    collect: Callable[[Transaction, Node], None] | None = None
    blocks_namespace: bool = True
    cleanup: Callable[[], Coroutine[Any, Any, int]] | None = None
    check: Check | None = None


class View(Protocol):
    """One consistent state of all tables. `now` is the time of the transaction, ns."""

    @property
    def now(self) -> int: ...

    def get(self, table: str, namespace: str, name: str) -> bytes | None: ...

    def scan(
        self, table: str, namespace: str, *, after: str = ""
    ) -> Iterator[tuple[str, bytes]]:
        """Names greater than `after` and their records, in byte order of the name."""
        ...

    def scan_namespaces(self, table: str) -> Iterator[str]:
        """The namespaces that have a record in this table, in byte order."""
        ...

    def has_node(self, node: Node) -> bool:
        """Whether `set_node` made it and nothing dropped it since."""
        ...

    def edges(self, node: Node) -> list[Edge]:
        """What `set_node` and `add_edge` stated for this node, in byte order."""
        ...

    def nodes(self, type_prefix: str, namespace: str) -> Iterator[Node]:
        """The existing nodes of the types that begin so, in byte order."""
        ...

    def events(self, after: int) -> Iterator[tuple[int, bytes]]:
        """Sequence number and encoded Envelope of the events after `after`."""
        ...

    def event_bounds(self) -> tuple[int, int]:
        """First and last sequence number in the log; (n + 1, n) when it is empty."""
        ...


class Transaction(View, Protocol):
    """A view that can change. `lease` and namespaces come from the call's context."""

    def put(self, table: str, namespace: str, name: str, record: bytes) -> None:
        """Store a record. A non-empty namespace comes into being with its first record."""
        ...

    def delete(self, table: str, namespace: str, name: str) -> bool:
        """Remove a record; whether there was one."""
        ...

    def sequence(self, namespace: str, name: str) -> int:
        """The next number of a counter, from 1; never repeats, also after deletions."""
        ...

    def set_node(
        self,
        node: Node,
        edges: Iterable[Edge] = (),
        *,
        root_until: int = NEVER,
        flat: bool = False,
    ) -> None:
        """State that this object exists, what it refers to, and whether it is a root.

        Replaces what an earlier `set_node` stated; edges of `add_edge` stay.
        root_until: NEVER, FOREVER, or a time in ns at which it ceases to be one.
        flat: what it refers to does not keep its own references (flat leases).
        """
        ...

    def drop_node(self, node: Node, *, collect: bool = True) -> None:
        """State that this object is gone; what it alone kept becomes collectable.

        collect: whether that calls for a collection. False for an object that another
        one takes the place of, as a blob that of its ingest: what it kept is then
        found by the next collection, whatever that is called for by.
        """
        ...

    def add_edge(self, node: Node, edge: Edge) -> None:
        """Add one reference to an existing node (a lease's resource). Idempotent."""
        ...

    def remove_edge(self, node: Node, edge: Edge) -> None:
        """Take back `add_edge`. Idempotent."""
        ...

    def hold(self, node: Node) -> None:
        """Add the node to the lease of this call; nothing without a lease.

        Raises NotFound `lease does not exist` when the named lease is none.
        """
        ...

    def release(self, node: Node) -> None:
        """Take the node off the lease of this call, if it is on it."""
        ...

    def emit(self, namespace: str, topic: str, type_url: str, value: object) -> int:
        """Append an event to the log, in this transaction; its sequence number."""
        ...

    def append_event(
        self,
        *,
        timestamp: int,
        namespace: str,
        topic: str,
        type_url: str,
        value: object,
    ) -> int:
        """As `emit`, with the time of the event given (forwarded events)."""
        ...

    def trim_events(self, before: int) -> int:
        """Remove the events with a number below `before`; how many."""
        ...

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a service's method inside this transaction.

        The method may call `view` and `update`, which join; it must not wait for
        anything else (RuntimeError).
        """
        ...


class Removed(Record, frozen=True):
    """One object that a collection removed, or would remove."""

    type: str
    namespace: str
    name: str


class CollectStats(Record, frozen=True):
    """What one collection did. Times in ns.

    removed: objects by type (`{"content": 3}`). objects: the first 1000 of them.
    pause: the longest time in which writers waited for it. freed_bytes: of backends,
    freed: the same by type; a `cleanup` that several types share counts for the first.
    more: it ended at its limit, and there is more to remove. left: why a backend still
    has bytes of which the records are gone, by type; the next collection tries again.
    """

    removed: dict[str, int] = {}
    objects: list[Removed] = []
    examined: int = 0
    pause: int = 0
    elapsed: int = 0
    freed_bytes: int = 0
    full: bool = False
    freed: dict[str, int] = {}
    more: bool = False
    left: dict[str, str] = {}


class PathStep(Record, frozen=True):
    """One step of an explanation. `how`: `root`, `reference`, `back reference`, ..."""

    type: str
    namespace: str
    name: str
    how: str


class Explanation(Record, frozen=True):
    """Why an object is kept: the path from a root to it; empty when nothing keeps it."""

    exists: bool = False
    path: list[PathStep] = []


class MetadataStats(Record, frozen=True):
    """Figures of the store since start. Sizes in bytes, times in ns.

    entries: records by table. oldest_reader: age of the oldest open read. batches:
    commits by how many updates they had: 1, 2, up to 4, up to 8, ..., up to 256, more.
    wait_time: from an update's call to the begin of its function, of all updates
    together; commit_time: of all commits. handover_time: until the thread that commits
    took up its work, `handovers` times. longest_*: the longest single one. open_reads:
    reads that are open for longer than a call, as marks and backups are; open_updates:
    updates that are not answered yet.
    """

    provider: str = ""
    path: str = ""
    size: int = 0
    used: int = 0
    quota: int = 0
    commits: int = 0
    updates: int = 0
    largest_batch: int = 0
    batches: list[int] = []
    commit_time: int = 0
    longest_commit: int = 0
    wait_time: int = 0
    longest_wait: int = 0
    handovers: int = 0
    handover_time: int = 0
    longest_handover: int = 0
    oldest_reader: int = 0
    first_event: int = 0
    last_event: int = 0
    candidates: int = 0
    entries: dict[str, int] = {}
    open_reads: int = 0
    open_updates: int = 0


class Metadata(Protocol):
    """See the module's text for what a provider promises."""

    async def open_table(self, name: str) -> None:
        """Make a table usable; called in `start`, before the first transaction on it."""
        ...

    def register(self, resource: ResourceType) -> Callable[[], None]:
        """Make a type of object known to collection; called in `start`.

        Returns what undoes it, for `ctx.on_stop`: until the type is registered again,
        objects of it are kept. Raises AlreadyExists.
        """
        ...

    def resources(self) -> Sequence[ResourceType]:
        """The registered types, in order of registration."""
        ...

    def read(self, function: Callable[[View], T]) -> T:
        """Run a read at once, without waiting; for methods that are `inline`."""
        ...

    def get(self, table: str, namespace: str, name: str) -> bytes | None:
        """`read` of one record, for less than a function and a view cost."""
        ...

    async def view(self, function: Callable[[View], T]) -> T:
        """Run a read; a checkpoint, unless it joins a transaction."""
        ...

    async def update(
        self,
        function: Callable[[Transaction], T],
        *,
        reclaim: bool = False,
        long: bool = False,
    ) -> T:
        """Run a change and wait until it is durable.

        A cancelled caller gets `trio.Cancelled`; whether the change happened is then
        for it to look up. reclaim: this update frees space; it works on a full disk.
        long: it may take more than a millisecond, so it must not run in the trio
        thread, where nobody is served meanwhile.
        """
        ...

    def start_update(
        self,
        function: Callable[[Transaction], T],
        *,
        reclaim: bool = False,
        long: bool = False,
    ) -> Deferred[T]:
        """As `update`, without waiting: for methods that are `deferred`. It may raise at
        once what `update` would raise. Who does not wait any more does not stop it."""
        ...

    def on_commit(
        self, function: Callable[[list[tuple[int, bytes]]], None]
    ) -> Callable[[], None]:
        """Call this in the trio thread after each commit that recorded events.

        With the new (sequence number, encoded Envelope), in order, each exactly once,
        before the updates that recorded them return; who has the outcome of a
        `start_update` called back is called before. It must not raise or wait.
        """
        ...

    def on_change(self, function: Callable[[bool], None]) -> Callable[[], None]:
        """Call this in the trio thread after each commit of updates; True when
        something may have become collectable since the last collection began."""
        ...

    async def collect(
        self, *, full: bool = False, limit: int = 0, keep_for: float = 0
    ) -> CollectStats:
        """Remove what nothing keeps; complete for all that was deleted before the call.

        Goes in short transactions and never stops writers for long. limit: remove at
        most so many objects, about in the order in which they were set free, and leave
        the others to the next; 0 for all. keep_for: leave what was set free within so
        many seconds; what a removed object kept counts as set free with it. full: also mark
        everything from the roots, on a snapshot in another process, and collect what
        that finds. Concurrent calls run one after the other.
        """
        ...

    async def plan(self) -> list[Removed]:
        """What a collection would remove now, without removing it."""
        ...

    async def explain(self, node: Node) -> Explanation:
        """The path from a root to this node, or that there is none."""
        ...

    def next_expiry(self) -> int | None:
        """When the next lease, ingest or image expires (ns), or None."""
        ...

    @rpc(result="stats", namespaced=False)
    async def statistics(self) -> MetadataStats:
        """Figures of the store."""
        ...


METADATA = Kind("pluggd.metadata.v1", Metadata)
