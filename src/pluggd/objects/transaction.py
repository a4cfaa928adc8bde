# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""View and transaction of `services.metadata`, over the KV of a provider.

The provider makes one per function, passes it to `joined.perform`, and reads the
transaction's results afterwards: `new_events`, `released`. Nothing here waits,
opens or commits; a transaction belongs to the thread that runs its function.
"""

from __future__ import annotations

from collections.abc import Coroutine, Iterable, Iterator
from typing import Any, NoReturn, TypeVar

from pluggd.errors import FailedPrecondition, NotFound
from pluggd.model.record import encode
from pluggd.objects import eventlog, keys, rows
from pluggd.objects.graph import Graph
from pluggd.objects.graph_view import GraphView
from pluggd.objects.kv import KV, ReadKV
from pluggd.objects.tables import GRAPH, NAMESPACES
from pluggd.services import call
from pluggd.services.metadata import LEASE, NEVER, Edge, Node
from pluggd.services.namespaces import Namespace

T = TypeVar("T")


class _Over:
    """What a view holds in place of its tables once its function has returned."""

    def _refuse(self) -> NoReturn:
        raise FailedPrecondition(
            "this transaction is over; use it only inside its function: "
            "failed precondition"
        )

    def get(self, table: str, key: bytes) -> bytes | None:
        self._refuse()

    def seek(
        self, table: str, start: bytes, stop: bytes | None = None
    ) -> Iterator[tuple[bytes, bytes]]:
        self._refuse()

    def last(self, table: str) -> tuple[bytes, bytes] | None:
        self._refuse()

    def put(self, table: str, key: bytes, value: bytes) -> None:
        self._refuse()

    def delete(self, table: str, key: bytes) -> bool:
        self._refuse()

    @property
    def notes(self) -> dict[Any, Any]:
        self._refuse()


_OVER = _Over()


class ObjectView:
    """A `View`. kv: one consistent state, for as long as the function runs."""

    def __init__(self, kv: ReadKV, now: int) -> None:
        self.kv = kv
        self._now = now

    @property
    def graph(self) -> GraphView:
        # Most reads look at records only, and a get is a few microseconds.
        return GraphView(self.kv, self._now)

    @property
    def now(self) -> int:
        return self._now

    def get(self, table: str, namespace: str, name: str) -> bytes | None:
        return keys.get(self.kv, table, keys.prefix(namespace), name)

    def scan(
        self, table: str, namespace: str, *, after: str = ""
    ) -> Iterator[tuple[str, bytes]]:
        return keys.scan(self.kv, table, keys.prefix(namespace), after)

    def scan_namespaces(self, table: str) -> Iterator[str]:
        return keys.first_parts(self.kv, table)

    def has_node(self, node: Node) -> bool:
        return self.graph.has_node(node)

    def edges(self, node: Node) -> list[Edge]:
        return self.graph.edges(node)

    def nodes(self, type_prefix: str, namespace: str) -> Iterator[Node]:
        return self.graph.nodes(type_prefix, namespace)

    def events(self, after: int) -> Iterator[tuple[int, bytes]]:
        return eventlog.events(self.kv, after)

    def event_bounds(self) -> tuple[int, int]:
        return eventlog.event_bounds(self.kv)

    # --- for providers

    def finish(self) -> None:
        """What is left to do when the function has returned; called by `perform`."""

    def close(self) -> None:
        """Make every later use of this object an error; called by `perform`."""
        self.kv = _OVER

    def as_transaction(self) -> ObjectTransaction | None:
        return None


class ObjectTransaction(ObjectView):
    """A `Transaction`.

    For the provider, to read after `perform` and use once it has committed:

    new_events: sequence number and encoded Envelope of what was emitted, in order.
    released: whether something may have become collectable.
    timed: whether a time at which something expires was set or taken.
    by_collector: set by the collector on its own transactions; the provider
        does not call its `on_change` functions for them.
    """

    def __init__(self, kv: KV, now: int) -> None:
        super().__init__(kv, now)
        self._kv: KV = kv
        self._graph = Graph(kv, now)
        self.new_events: list[tuple[int, bytes]] = []
        self.by_collector = False

    @property
    def released(self) -> bool:
        return self._graph.released

    @property
    def timed(self) -> bool:
        return self._graph.timed

    @property
    def graph(self) -> GraphView:
        return self._graph

    @property
    def writable_graph(self) -> Graph:
        return self._graph

    def put(self, table: str, namespace: str, name: str, record: bytes) -> None:
        if namespace and (NAMESPACES, namespace) not in self._kv.notes:
            self._make_namespace(namespace)
        keys.put(self._kv, table, keys.prefix(namespace), name, record)

    def _make_namespace(self, namespace: str) -> None:
        root = keys.prefix("")
        if keys.get(self._kv, NAMESPACES, root, namespace) is None:
            record = encode(Namespace(name=namespace))
            keys.put(self._kv, NAMESPACES, root, namespace, record)
        self._kv.notes[NAMESPACES, namespace] = None

    def delete(self, table: str, namespace: str, name: str) -> bool:
        if table == NAMESPACES:
            self._kv.notes.pop((NAMESPACES, name), None)
        return keys.delete(self._kv, table, keys.prefix(namespace), name)

    def sequence(self, namespace: str, name: str) -> int:
        front = rows.SEQUENCE + keys.prefix(namespace)
        last = keys.get(self._kv, GRAPH, front, name) or b""
        number = int.from_bytes(last, "big") + 1
        keys.put(self._kv, GRAPH, front, name, number.to_bytes(8, "big"))
        return number

    def set_node(
        self,
        node: Node,
        edges: Iterable[Edge] = (),
        *,
        root_until: int = NEVER,
        flat: bool = False,
    ) -> None:
        self._graph.set_node(node, edges, root_until, flat)

    def drop_node(self, node: Node, *, collect: bool = True) -> None:
        before = self._graph.released
        self._graph.drop_node(node)
        if not collect:
            self._graph.released = before

    def add_edge(self, node: Node, edge: Edge) -> None:
        self._graph.add_edge(node, edge)

    def remove_edge(self, node: Node, edge: Edge) -> None:
        self._graph.remove_edge(node, edge)

    def hold(self, node: Node) -> None:
        lease = call.lease()
        if not lease:
            return
        holder = Node(LEASE, node.namespace, lease)
        if not self._graph.has_node(holder):
            raise NotFound("lease does not exist: not found")
        self._graph.add_edge(holder, Edge(node))

    def release(self, node: Node) -> None:
        lease = call.lease()
        if lease:
            self._graph.remove_edge(Node(LEASE, node.namespace, lease), Edge(node))

    def emit(self, namespace: str, topic: str, type_url: str, value: object) -> int:
        return self.append_event(
            timestamp=self.now,
            namespace=namespace,
            topic=topic,
            type_url=type_url,
            value=value,
        )

    def append_event(
        self,
        *,
        timestamp: int,
        namespace: str,
        topic: str,
        type_url: str,
        value: object,
    ) -> int:
        seq, data = eventlog.append_event(
            self._kv,
            timestamp=timestamp,
            namespace=namespace,
            topic=topic,
            type_url=type_url,
            value=value,
        )
        self.new_events.append((seq, data))
        return seq

    def trim_events(self, before: int) -> int:
        return eventlog.trim_events(self._kv, before)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return _drive(coroutine)

    # --- for providers

    def put_pairs(self, table: str, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        """Store keys and values as they are, nothing interpreted: for copies of a store."""
        self._kv.notes.clear()
        for key, value in pairs:
            self._kv.put(table, key, value)

    def finish(self) -> None:
        self._graph.finish()

    def close(self) -> None:
        super().close()
        self._kv = _OVER
        self._graph.detach(_OVER)

    def as_transaction(self) -> ObjectTransaction | None:
        return self


def _drive(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that does not wait; RuntimeError when it tries to."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    coroutine.close()
    raise RuntimeError(
        f"{coroutine!r} waits inside a transaction; only calls that join it may be "
        "awaited there"
    )
