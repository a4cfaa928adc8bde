# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Nodes and edges as rows: what exists, what keeps what, from both ends.

Nodes have small ids, and an edge is two rows of 17 bytes. A node that others
refer to before it exists (or after it is gone) has an id and a row that says so;
the row goes with its last edge. An edge runs from the keeper to the kept one,
whoever stated it, so following rows never needs to know about back references.

`Graph` upholds the invariant on which collection rests (docs/decisions/0001):
whatever no live root reaches is a candidate, or is kept by something dead that is.
So each change that takes support from an object makes that object a candidate,
and so does creating one without visible support.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from struct import Struct
from typing import NamedTuple

from pluggd.errors import NotFound
from pluggd.objects import keys
from pluggd.objects.kv import KV, ReadKV
from pluggd.objects.tables import (
    CANDIDATES,
    EDGES_IN,
    EDGES_OUT,
    EXPIRY,
    GAINED,
    NODE_IDS,
    NODES,
    STATE,
)
from pluggd.services.metadata import FOREVER, NEVER, Edge, Node

STRUCTURAL = 1
BACK = 2
ADDED = 4
"""Bits of an edge's kind. ADDED: stated by `add_edge`. The order of the values lets
one range of keys hold what `set_node` replaces."""

_EXISTS = 1
_FLAT = 2
_ROW = Struct(">Bq")
_GENERATION = b"generation"
_NEXT_ID = b"node_id"
_WATCHED = b"watched"


class Row(NamedTuple):
    """What is stored of a node. `key`: type, namespace and name, with zero bytes."""

    exists: bool
    flat: bool
    root_until: int
    key: bytes

    def is_root(self, now: int) -> bool:
        """Whether this is a live root: exists, and its time has not come."""
        return self.exists and (self.root_until == FOREVER or self.root_until > now)

    @property
    def node(self) -> Node:
        type_, namespace, name = self.key.split(b"\0", 2)
        return Node(
            keys.decode_name(type_), keys.decode_name(namespace), keys.decode_name(name)
        )


def _pack(row: Row) -> bytes:
    flags = (_EXISTS if row.exists else 0) | (_FLAT if row.flat else 0)
    return _ROW.pack(flags, row.root_until) + row.key


def unpack_row(data: bytes) -> Row:
    flags, root_until = _ROW.unpack_from(data)
    return Row(
        bool(flags & _EXISTS), bool(flags & _FLAT), root_until, data[_ROW.size :]
    )


def next_key(key: bytes) -> bytes:
    """The least key greater than all that begin with this id or number."""
    return (int.from_bytes(key, "big") + 1).to_bytes(len(key), "big")


def _number(value: int) -> bytes:
    return value.to_bytes(8, "big")


class GraphView:
    """Reading nodes and edges. Ids are 8 bytes."""

    def __init__(self, kv: ReadKV, now: int) -> None:
        self._reader = kv
        self.now = now

    def id_of(self, node: Node) -> bytes | None:
        front = keys.prefix(node.type, node.namespace)
        return keys.get(self._reader, NODE_IDS, front, node.name)

    def row(self, id_: bytes) -> Row | None:
        data = self._reader.get(NODES, id_)
        return None if data is None else unpack_row(data)

    def has_node(self, node: Node) -> bool:
        id_ = self.id_of(node)
        row = None if id_ is None else self.row(id_)
        return row is not None and row.exists

    def nodes(self, type_prefix: str, namespace: str) -> Iterator[Node]:
        front = keys.encode_name(type_prefix)
        for type_ in keys.first_parts(self._reader, NODE_IDS, front):
            whole = type_prefix + type_
            for name, id_ in keys.scan(
                self._reader, NODE_IDS, keys.prefix(whole, namespace)
            ):
                row = self.row(id_)
                if row is not None and row.exists:
                    yield Node(whole, namespace, name)

    def edges(self, node: Node) -> list[Edge]:
        """What this node stated, in byte order of the targets, each once."""
        id_ = self.id_of(node)
        if id_ is None:
            return []
        found: set[tuple[bytes, bool, bool]] = set()
        for table, back in ((EDGES_OUT, False), (EDGES_IN, True)):
            for key, _ in self._reader.seek(table, id_, next_key(id_)):
                kind = key[8]
                row = self.row(key[9:]) if bool(kind & BACK) is back else None
                if row is not None:
                    found.add((row.key, back, bool(kind & STRUCTURAL)))
        return [
            Edge(Row(True, False, NEVER, key).node, back=back, structural=structural)
            for key, back, structural in sorted(found)
        ]

    def targets(self, id_: bytes) -> Iterator[tuple[bytes, int]]:
        """Ids of what this node keeps, and the edges' kinds."""
        for key, _ in self._reader.seek(EDGES_OUT, id_, next_key(id_)):
            yield key[9:], key[8]

    def keepers(
        self, id_: bytes, after: bytes = b""
    ) -> Iterator[tuple[bytes, bytes, int]]:
        """Key, id and kind of what keeps this node; from beyond the key `after`."""
        start = after + b"\0" if after else id_
        for key, _ in self._reader.seek(EDGES_IN, start, next_key(id_)):
            yield key, key[9:], key[8]

    def generation(self) -> int:
        """The number of collections begun; candidates carry the one they fell into."""
        return int.from_bytes(self._reader.get(STATE, _GENERATION) or b"", "big")

    def watched(self) -> bool:
        """Whether a collection pauses in the middle."""
        return self._reader.get(STATE, _WATCHED) is not None

    def next_expiry(self) -> int | None:
        for key, _ in self._reader.seek(EXPIRY, b""):
            return int.from_bytes(key[:8], "big")
        return None

    def expired(self) -> Iterator[bytes]:
        """Keys of the expiry table whose time has come; the id is `key[8:]`."""
        for key, _ in self._reader.seek(EXPIRY, b"", _number(self.now + 1)):
            yield key

    def candidates(self, before: int) -> Iterator[bytes]:
        """Keys of the candidates of generations below this; the id is `key[8:]`."""
        for key, _ in self._reader.seek(CANDIDATES, b"", _number(before)):
            yield key


class Graph(GraphView):
    """Changing nodes and edges.

    released: whether something lost support here (on_change's argument).
    gained: the nodes to which a change here gave support that they did not have: a
        verdict that one of them is dead holds no more.
    release_generation: set by the collector, so that what its removals set free is
        handled by the same collection.
    """

    def __init__(self, kv: KV, now: int) -> None:
        super().__init__(kv, now)
        self._kv = kv
        self._created: set[bytes] = set()
        self._generation: int | None = None
        self.released = False
        self.gained: set[bytes] = set()
        self.release_generation: int | None = None

    def detach(self, kv: KV) -> None:
        """Go on with other tables: the transaction is over."""
        self._kv = self._reader = kv

    # --- statements

    def set_node(
        self, node: Node, edges: Iterable[Edge], root_until: int, flat: bool
    ) -> None:
        id_ = self._intern(node)
        row = self._must_row(id_)
        wanted = {self._edge(id_, edge) for edge in edges}
        stated = set(self._declared(id_))
        if row.exists:
            self._restate(id_, row, root_until, flat)
        else:
            self._gains_with_targets(id_)
            if root_until != FOREVER:
                self._created.add(id_)
        if row.root_until != root_until:
            self._set_expiry(id_, row.root_until, root_until)
        changed = Row(True, flat, root_until, row.key)
        if changed != row:
            self._kv.put(NODES, id_, _pack(changed))
        for keeper, kind, kept in wanted - stated:
            self._put_edge(keeper, kind, kept)
        for keeper, kind, kept in stated - wanted:
            self._remove_edge(keeper, kind, kept)

    def drop_node(self, node: Node) -> None:
        id_ = self.id_of(node)
        if id_ is not None:
            self.drop(id_)

    def drop(self, id_: bytes) -> None:
        row = self.row(id_)
        if row is None or not row.exists:
            return
        self.released = True
        stated = [*self._declared(id_), *self._declared(id_, ADDED)]
        for target, _ in list(self.targets(id_)):
            self._release(target)
        self._set_expiry(id_, row.root_until, NEVER)
        self._kv.put(NODES, id_, _pack(Row(False, False, NEVER, row.key)))
        for keeper, kind, kept in stated:
            self._delete_edge(keeper, kind, kept)
        self._forget(id_)

    def add_edge(self, node: Node, edge: Edge) -> None:
        if not self.has_node(node):
            raise NotFound(f'{node.type} "{node.name}": not found')
        keeper, kind, kept = self._edge(self._intern(node), edge)
        kind |= ADDED
        if self._kv.get(EDGES_OUT, keeper + bytes((kind,)) + kept) is None:
            self._put_edge(keeper, kind, kept)

    def remove_edge(self, node: Node, edge: Edge) -> None:
        id_, other = self.id_of(node), self.id_of(edge.target)
        if id_ is None or other is None:
            return
        kind = ADDED | (STRUCTURAL if edge.structural else 0)
        if edge.back:
            self._remove_edge(other, kind | BACK, id_)
        else:
            self._remove_edge(id_, kind, other)

    def finish(self) -> None:
        """Make candidates of what was created here and that no live root names.

        Support through anything but a root may itself be without support, or end
        below a flat lease; the collector finds out. And tell a collection that pauses
        what gained support meanwhile.
        """
        for id_ in self._created:
            row = self.row(id_)
            if row is None or not row.exists or row.is_root(self.now):
                continue
            if not any(self._is_root(keeper) for _, keeper, _ in self.keepers(id_)):
                self.queue(id_)
        self._created.clear()
        if self.gained and self.watched():
            for id_ in self.gained:
                self._kv.put(GAINED, id_, b"")

    # --- for the collector

    def begin_collection(self) -> int:
        """Open a new generation; its number. Older candidates are this collection's."""
        self._generation = generation = self.generation() + 1
        self._kv.put(STATE, _GENERATION, _number(generation))
        return generation

    def queue(self, id_: bytes, generation: int | None = None) -> None:
        """Make a node a candidate, of the next collection if no generation is given."""
        if generation is None:
            if self._generation is None:
                self._generation = self.generation()
            generation = self._generation
        self._kv.put(CANDIDATES, _number(generation) + id_, b"")

    def watch(self, on: bool) -> None:
        """From now on keep in GAINED what gains support; or no longer."""
        if on:
            self._kv.put(STATE, _WATCHED, b"")
        else:
            self._kv.delete(STATE, _WATCHED)

    def take_gained(self, limit: int) -> list[bytes]:
        """Up to `limit` of the nodes that gained support since `watch`, each once."""
        taken = [key for key, _ in islice(self._kv.seek(GAINED, b""), limit)]
        for key in taken:
            self._kv.delete(GAINED, key)
        return taken

    def queue_targets(self, id_: bytes) -> None:
        for target, _ in list(self.targets(id_)):
            self._release(target)

    def unqueue(self, key: bytes) -> None:
        self._kv.delete(CANDIDATES, key)

    def expire(self, key: bytes) -> None:
        """Turn an entry of the expiry table into a candidate."""
        self._kv.delete(EXPIRY, key)
        self.queue(key[8:], self.release_generation)

    def complete_edge(self, keeper: bytes, kind: int, kept: bytes) -> None:
        """Restore the other end of an edge of which only one end is stored."""
        middle = bytes((kind,))
        out = self._kv.get(EDGES_OUT, keeper + middle + kept) is not None
        into = self._kv.get(EDGES_IN, kept + middle + keeper) is not None
        if out != into:
            self._put_edge(keeper, kind, kept)

    # --- rows

    def _intern(self, node: Node) -> bytes:
        front = keys.prefix(node.type, node.namespace)
        id_ = keys.get(self._kv, NODE_IDS, front, node.name)
        if id_ is None:
            last = int.from_bytes(self._kv.get(STATE, _NEXT_ID) or b"", "big")
            id_ = _number(last + 1)
            self._kv.put(STATE, _NEXT_ID, id_)
            name = keys.encode_name(node.name)
            self._kv.put(NODES, id_, _pack(Row(False, False, NEVER, front + name)))
            keys.put(self._kv, NODE_IDS, front, node.name, id_)
        return id_

    def _forget(self, id_: bytes) -> None:
        """Remove the row of a node that does not exist and has no edges left."""
        row = self.row(id_)
        if row is None or row.exists:
            return
        for _ in self.targets(id_):
            return
        for _ in self.keepers(id_):
            return
        node = row.node
        self._kv.delete(NODES, id_)
        keys.delete(
            self._kv, NODE_IDS, keys.prefix(node.type, node.namespace), node.name
        )

    def _must_row(self, id_: bytes) -> Row:
        row = self.row(id_)
        assert row is not None, f"node {id_.hex()} has an id and no row"
        return row

    def _is_root(self, id_: bytes) -> bool:
        row = self.row(id_)
        return row is not None and row.is_root(self.now)

    def _edge(self, id_: bytes, edge: Edge) -> tuple[bytes, int, bytes]:
        """Keeper, kind and kept of an edge that the node `id_` states."""
        other = self._intern(edge.target)
        kind = STRUCTURAL if edge.structural else 0
        return (other, kind | BACK, id_) if edge.back else (id_, kind, other)

    def _declared(self, id_: bytes, added: int = 0) -> list[tuple[bytes, int, bytes]]:
        """The edges that this node stated: by `set_node`, or (ADDED) by `add_edge`."""
        low, middle, high = (
            id_ + bytes((kind,)) for kind in (added, added | BACK, added + ADDED)
        )
        found = [
            (id_, key[8], key[9:]) for key, _ in self._kv.seek(EDGES_OUT, low, middle)
        ]
        found += [
            (key[9:], key[8], id_) for key, _ in self._kv.seek(EDGES_IN, middle, high)
        ]
        return found

    def _restate(self, id_: bytes, row: Row, root_until: int, flat: bool) -> None:
        """An existing node says something else about itself."""
        if flat and not row.flat:
            self.queue_targets(id_)
        if root_until != row.root_until or (row.flat and not flat):
            self._gains_with_targets(id_)
        if row.root_until != NEVER and root_until == NEVER:
            self._release(id_)

    def _gains_with_targets(self, id_: bytes) -> None:
        """A search may have passed by this node, or stopped at it from below."""
        self.gained.add(id_)
        self.gained.update(target for target, _ in self.targets(id_))

    def _put_edge(self, keeper: bytes, kind: int, kept: bytes) -> None:
        self.gained.add(kept)
        middle = bytes((kind,))
        self._kv.put(EDGES_OUT, keeper + middle + kept, b"")
        self._kv.put(EDGES_IN, kept + middle + keeper, b"")

    def _delete_edge(self, keeper: bytes, kind: int, kept: bytes) -> bool:
        middle = bytes((kind,))
        self._kv.delete(EDGES_IN, kept + middle + keeper)
        there = self._kv.delete(EDGES_OUT, keeper + middle + kept)
        for end in {keeper, kept}:
            self._forget(end)
        return there

    def _remove_edge(self, keeper: bytes, kind: int, kept: bytes) -> None:
        if self._delete_edge(keeper, kind, kept):
            self._release(kept)

    def _release(self, id_: bytes) -> None:
        """Something that kept this node does not any more."""
        row = self.row(id_)
        if row is not None and row.exists:
            self.released = True
            self.queue(id_, self.release_generation)

    def _set_expiry(self, id_: bytes, before: int, after: int) -> None:
        if before > 0:
            self._kv.delete(EXPIRY, _number(before) + id_)
        if after > 0:
            self._kv.put(EXPIRY, _number(after) + id_, b"")
