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
from pluggd.objects import keys, rows
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
from pluggd.objects.tables import CANDIDATES, GRAPH
from pluggd.services.metadata import FOREVER, NEVER, Edge, Node


class Graph(GraphView):
    """Changing nodes and edges.

    released: whether something lost support here (on_change's argument).
    timed: whether a time at which something expires was set or taken here.
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
        self.released = False
        self.timed = False
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
            self._kv.put(GRAPH, rows.NODE + id_, pack_row(changed))
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
        kept, back, others = self._ends(id_)
        for key in kept:
            self._release(key[rows.OTHER :])
        self._set_expiry(id_, row.root_until, NEVER)
        stated = [*(key for key in kept if not key[rows.NODE_KEY] & BACK), *back]
        if others or len(stated) < len(kept) + len(back):
            # Its id and its row are for those who name it.
            gone = Row(False, False, NEVER, row.key)
            self._kv.put(GRAPH, rows.NODE + id_, pack_row(gone))
        else:
            self._remove_row(id_, row)
        for key in stated:
            self._kv.delete(GRAPH, key)
            self._kv.delete(GRAPH, rows.twin(key))
        for other in {key[rows.OTHER :] for key in stated}:
            self._forget(other)

    def _ends(self, id_: bytes) -> tuple[list[bytes], list[bytes], bool]:
        """What is stored of edges at this node, without walking over its many keepers.

        The keys of edges by which it keeps others; of those by which it is kept and that
        it stated itself; and whether there are more.
        """
        kept: list[bytes] = []
        back: list[bytes] = []
        others = False
        low = 0
        while True:
            for key, _ in self._kv.seek(GRAPH, *rows.edges_range(id_, low)):
                kind = key[rows.NODE_KEY]
                if kind & rows.OUT:
                    kept.append(key)
                elif kind & BACK:
                    back.append(key)
                else:
                    # Those of one range all state it, and may be thousands.
                    others = True
                    low = (kind | STRUCTURAL) + 1
                    break
            else:
                return kept, back, others

    def add_edge(self, node: Node, edge: Edge) -> None:
        if not self.has_node(node):
            raise NotFound(f'{node.type} "{node.name}": not found')
        keeper, kind, kept = self._edge(self._intern(node), edge)
        kind |= ADDED
        if self._kv.get(GRAPH, rows.out(keeper, kind, kept)) is None:
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
        if self.gained and self._noted_watched():
            for id_ in self.gained:
                self._kv.put(GRAPH, rows.GAINED + id_, b"")

    def _noted_watched(self) -> bool:
        on: bool | None = self._kv.notes.get(WATCHED)
        if on is None:
            on = self._kv.notes[WATCHED] = self.watched()
        return on

    # --- for the collector

    def begin_collection(self) -> int:
        """Open a new generation; its number. Older candidates are this collection's."""
        self._generation = generation = self.generation() + 1
        self._kv.put(GRAPH, GENERATION, number(generation))
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
        """From now on keep in rows what gains support; or no longer."""
        self._kv.notes[WATCHED] = on
        if on:
            self._kv.put(GRAPH, WATCHED, b"")
        else:
            self._kv.delete(GRAPH, WATCHED)

    def take_gained(self, limit: int) -> list[bytes]:
        """Up to `limit` of the nodes that gained support since `watch`, each once."""
        found = self._kv.seek(GRAPH, rows.GAINED, rows.EXPIRY)
        taken = [key for key, _ in islice(found, limit)]
        for key in taken:
            self._kv.delete(GRAPH, key)
        return [key[1:] for key in taken]

    def queue_targets(self, id_: bytes) -> None:
        for target, _ in list(self.targets(id_)):
            self._release(target)

    def unqueue(self, key: bytes) -> None:
        self._kv.delete(CANDIDATES, key)

    def expire(self, key: bytes, id_: bytes) -> None:
        """Turn an entry of `expired` into a candidate."""
        self._kv.delete(GRAPH, key)
        since = int.from_bytes(key[1:9], "big")
        self.queue(id_, self.release_generation, since)

    def complete_edge(self, keeper: bytes, kind: int, kept: bytes) -> None:
        """Restore the other end of an edge of which only one end is stored."""
        out = self._kv.get(GRAPH, rows.out(keeper, kind, kept)) is not None
        into = self._kv.get(GRAPH, rows.into(keeper, kind, kept)) is not None
        if out != into:
            self._put_edge(keeper, kind, kept)

    # --- rows

    def _intern(self, node: Node) -> bytes:
        id_ = self.id_of(node)
        return self._make(node, False, False, NEVER) if id_ is None else id_

    def _make(self, node: Node, exists: bool, flat: bool, root_until: int) -> bytes:
        """Give a node its id and its row; it must not have them."""
        self._kv.notes[rows.LAST_ID] = last = self._newest() + 1
        id_ = number(last)
        front = keys.prefix(node.type, node.namespace)
        row = Row(exists, flat, root_until, front + keys.encode_name(node.name))
        self._kv.put(GRAPH, rows.NODE + id_, pack_row(row))
        keys.put(self._kv, GRAPH, front, node.name, id_)
        return id_

    def _newest(self) -> int:
        """The greatest id that may have been given."""
        last: int | None = self._kv.notes.get(rows.LAST_ID)
        if last is None:
            last = self._kv.notes[rows.LAST_ID] = rows.newest_id(self._kv)
        return last

    def _forget(self, id_: bytes) -> None:
        """Remove the row of a node that does not exist and has no edges left."""
        row = self.row(id_)
        if row is None or row.exists:
            return
        for _ in self._kv.seek(GRAPH, *rows.edges_range(id_)):
            return
        self._remove_row(id_, row)

    def _remove_row(self, id_: bytes, row: Row) -> None:
        if id_ > (self._kv.get(GRAPH, rows.LAST_ID) or b""):
            # Its id must not come again, nor that of any other node of today: so this
            # is not written by each removal.
            self._kv.put(GRAPH, rows.LAST_ID, number(self._newest()))
        node = row.node
        self._kv.delete(GRAPH, rows.NODE + id_)
        front = keys.prefix(node.type, node.namespace)
        keys.delete(self._kv, GRAPH, front, node.name)

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
        out = rows.out_range(id_, added, added | BACK)
        into = rows.into_range(id_, added | BACK, added + ADDED)
        found = [key for key, _ in self._kv.seek(GRAPH, *out)]
        found += [key for key, _ in self._kv.seek(GRAPH, *into)]
        return [rows.edge(key) for key in found]

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
        self._kv.put(GRAPH, rows.out(keeper, kind, kept), b"")
        self._kv.put(GRAPH, rows.into(keeper, kind, kept), b"")

    def _delete_edge(self, keeper: bytes, kind: int, kept: bytes) -> bool:
        self._kv.delete(GRAPH, rows.into(keeper, kind, kept))
        there = self._kv.delete(GRAPH, rows.out(keeper, kind, kept))
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
            self.timed = True
            self._kv.delete(GRAPH, rows.EXPIRY + number(before) + id_)
        if after > 0:
            self.timed = True
            self._kv.put(GRAPH, rows.EXPIRY + number(after) + id_, b"")
