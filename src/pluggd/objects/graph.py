# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Changing nodes and edges.

Upholds the invariant on which collection rests (docs/decisions/0001): whatever no
live root reaches is a candidate, or is kept by something dead that is. So each
change that takes support from an object makes that object a candidate, and so
does creating one without visible support.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from pluggd.errors import NotFound
from pluggd.objects import keys
from pluggd.objects.graph_view import (
    ADDED,
    BACK,
    GENERATION,
    STRUCTURAL,
    WATCHED,
    GraphView,
    Row,
    number,
    pack_row,
)
from pluggd.objects.kv import KV
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

_NEXT_ID = b"node_id"


class Graph(GraphView):
    """Changing nodes and edges.

    released: whether something lost support here (on_change's argument).
    gained: the nodes to which a change here gave support that they did not have: a
        verdict that one of them is dead holds no more.
    release_generation: set by the collector, so that what its removals set free is
        handled by the same collection. release_since: set by it, too: what a removal
        sets free has been without use as long as what was removed.
    """

    def __init__(self, kv: KV, now: int) -> None:
        super().__init__(kv, now)
        self._kv = kv
        self._created: set[bytes] = set()
        self._generation: int | None = None
        self._last_id: int | None = None
        self.released = False
        self.gained: set[bytes] = set()
        self.release_generation: int | None = None
        self.release_since: int | None = None

    def detach(self, kv: KV) -> None:
        """Go on with other tables: the transaction is over."""
        self._kv = self._reader = kv

    # --- statements

    def set_node(
        self, node: Node, edges: Iterable[Edge], root_until: int, flat: bool
    ) -> None:
        id_ = self.id_of(node)
        if id_ is None:
            self._new_node(node, edges, root_until, flat)
            return
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
            self._kv.put(NODES, id_, pack_row(changed))
        for keeper, kind, kept in wanted - stated:
            self._put_edge(keeper, kind, kept)
        for keeper, kind, kept in stated - wanted:
            self._remove_edge(keeper, kind, kept)

    def _new_node(
        self, node: Node, edges: Iterable[Edge], root_until: int, flat: bool
    ) -> None:
        """`set_node` of one that nobody named before, which therefore has no edges."""
        id_ = self._make(node, True, flat, root_until)
        self.gained.add(id_)
        if root_until != FOREVER:
            self._created.add(id_)
        self._set_expiry(id_, NEVER, root_until)
        for keeper, kind, kept in {self._edge(id_, edge) for edge in edges}:
            self._put_edge(keeper, kind, kept)

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
        self._kv.put(NODES, id_, pack_row(Row(False, False, NEVER, row.key)))
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
        self._kv.put(STATE, GENERATION, number(generation))
        return generation

    def queue(
        self, id_: bytes, generation: int | None = None, since: int | None = None
    ) -> None:
        """Make a node a candidate, of the next collection if no generation is given.
        since: ns; from now on, or `release_since`, if not given."""
        if generation is None:
            if self._generation is None:
                self._generation = self.generation()
            generation = self._generation
        if since is None:
            since = self.now if self.release_since is None else self.release_since
        self._kv.put(CANDIDATES, number(generation) + id_, number(since))

    def watch(self, on: bool) -> None:
        """From now on keep in GAINED what gains support; or no longer."""
        if on:
            self._kv.put(STATE, WATCHED, b"")
        else:
            self._kv.delete(STATE, WATCHED)

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
        since = int.from_bytes(key[:8], "big")
        self.queue(key[8:], self.release_generation, since)

    def complete_edge(self, keeper: bytes, kind: int, kept: bytes) -> None:
        """Restore the other end of an edge of which only one end is stored."""
        middle = bytes((kind,))
        out = self._kv.get(EDGES_OUT, keeper + middle + kept) is not None
        into = self._kv.get(EDGES_IN, kept + middle + keeper) is not None
        if out != into:
            self._put_edge(keeper, kind, kept)

    # --- rows

    def _intern(self, node: Node) -> bytes:
        id_ = self.id_of(node)
        return self._make(node, False, False, NEVER) if id_ is None else id_

    def _make(self, node: Node, exists: bool, flat: bool, root_until: int) -> bytes:
        """Give a node its id and its row; it must not have them."""
        if self._last_id is None:
            self._last_id = int.from_bytes(self._kv.get(STATE, _NEXT_ID) or b"", "big")
        self._last_id += 1
        id_ = number(self._last_id)
        self._kv.put(STATE, _NEXT_ID, id_)
        front = keys.prefix(node.type, node.namespace)
        row = Row(exists, flat, root_until, front + keys.encode_name(node.name))
        self._kv.put(NODES, id_, pack_row(row))
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
            self._kv.delete(EXPIRY, number(before) + id_)
        if after > 0:
            self._kv.put(EXPIRY, number(after) + id_, b"")
