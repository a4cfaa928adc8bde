# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Reading nodes and edges: what exists, what keeps what, from both ends.

Nodes have small ids, and an edge is two rows of 17 bytes. A node that others
refer to before it exists (or after it is gone) has an id and a row that says so;
the row goes with its last edge. An edge runs from the keeper to the kept one,
whoever stated it, so following rows never needs to know about back references.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import NamedTuple

from pluggd.objects import keys
from pluggd.objects.kv import ReadKV
from pluggd.objects.tables import (
    CANDIDATES,
    EDGES_IN,
    EDGES_OUT,
    EXPIRY,
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
GENERATION = b"generation"
WATCHED = b"watched"
"""Keys in STATE."""


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


def pack_row(row: Row) -> bytes:
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


def number(value: int) -> bytes:
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
        return int.from_bytes(self._reader.get(STATE, GENERATION) or b"", "big")

    def watched(self) -> bool:
        """Whether a collection pauses in the middle."""
        return self._reader.get(STATE, WATCHED) is not None

    def next_expiry(self) -> int | None:
        for key, _ in self._reader.seek(EXPIRY, b""):
            return int.from_bytes(key[:8], "big")
        return None

    def expired(self) -> Iterator[bytes]:
        """Keys of the expiry table whose time has come; the id is `key[8:]`."""
        for key, _ in self._reader.seek(EXPIRY, b"", number(self.now + 1)):
            yield key

    def candidates(self, before: int) -> Iterator[tuple[bytes, int]]:
        """Keys of the candidates of generations below this, the id is `key[8:]`, and
        since when they are: ns, 0 for those of a version that did not note it."""
        for key, since in self._reader.seek(CANDIDATES, b"", number(before)):
            yield key, int.from_bytes(since, "big")
