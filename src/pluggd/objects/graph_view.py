# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Reading nodes and edges: what exists, what keeps what, from both ends.

Nodes have small ids, and an edge is two rows of 18 bytes. A node that others
refer to before it exists (or after it is gone) has an id and a row that says so;
the row goes with its last edge. An edge runs from the keeper to the kept one,
whoever stated it, so following rows never needs to know about back references.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from pluggd.objects import keys, rows
from pluggd.objects.kv import ReadKV
from pluggd.objects.tables import CANDIDATES, GRAPH
from pluggd.services.metadata import FOREVER, NEVER, Edge, Node
from pluggd.struct import Struct

STRUCTURAL = 1
BACK = 2
ADDED = 4
"""Bits of an edge's kind. ADDED: stated by `add_edge`. The order of the values lets
one range of keys hold what `set_node` replaces."""

_EXISTS = 1
_FLAT = 2
_ROW = struct.Struct(">Bq")
GENERATION = rows.STATE + b"generation"
WATCHED = rows.STATE + b"watched"


class Row(Struct, frozen=True):
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


def number(value: int) -> bytes:
    return value.to_bytes(8, "big")


class GraphView:
    """Reading nodes and edges. Ids are 8 bytes."""

    def __init__(self, kv: ReadKV, now: int) -> None:
        self._reader = kv
        self.now = now

    def id_of(self, node: Node) -> bytes | None:
        front = keys.prefix(node.type, node.namespace)
        return keys.get(self._reader, GRAPH, front, node.name)

    def row(self, id_: bytes) -> Row | None:
        data = self._reader.get(GRAPH, rows.NODE + id_)
        return None if data is None else unpack_row(data)

    def has_node(self, node: Node) -> bool:
        id_ = self.id_of(node)
        row = None if id_ is None else self.row(id_)
        return row is not None and row.exists

    def nodes(self, type_prefix: str, namespace: str) -> Iterator[Node]:
        front = keys.encode_name(type_prefix)
        for type_ in keys.first_parts(self._reader, GRAPH, front, rows.NAMES_END):
            whole = type_prefix + type_
            for name, id_ in keys.scan(
                self._reader, GRAPH, keys.prefix(whole, namespace)
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
        for ends, back in ((rows.out_range, False), (rows.into_range, True)):
            for key, _ in self._reader.seek(GRAPH, *ends(id_)):
                kind = key[rows.NODE_KEY]
                own = bool(kind & BACK) is back
                row = self.row(key[rows.OTHER :]) if own else None
                if row is not None:
                    found.add((row.key, back, bool(kind & STRUCTURAL)))
        return [
            Edge(Row(True, False, NEVER, key).node, back=back, structural=structural)
            for key, back, structural in sorted(found)
        ]

    def targets(self, id_: bytes) -> Iterator[tuple[bytes, int]]:
        """Ids of what this node keeps, and the edges' kinds."""
        for key, _ in self._reader.seek(GRAPH, *rows.out_range(id_)):
            yield key[rows.OTHER :], key[rows.NODE_KEY] ^ rows.OUT

    def keepers(
        self, id_: bytes, after: bytes = b""
    ) -> Iterator[tuple[bytes, bytes, int]]:
        """Key, id and kind of what keeps this node; from beyond the key `after`."""
        start, stop = rows.into_range(id_)
        for key, _ in self._reader.seek(GRAPH, after + b"\0" if after else start, stop):
            yield key, key[rows.OTHER :], key[rows.NODE_KEY]

    def generation(self) -> int:
        """The number of collections begun; candidates carry the one they fell into."""
        return int.from_bytes(self._reader.get(GRAPH, GENERATION) or b"", "big")

    def watched(self) -> bool:
        """Whether a collection pauses in the middle."""
        return self._reader.get(GRAPH, WATCHED) is not None

    def next_expiry(self) -> int | None:
        for key, _ in self._reader.seek(GRAPH, rows.EXPIRY, rows.SEQUENCE):
            return int.from_bytes(key[1:9], "big")
        return None

    def expired(self) -> Iterator[tuple[bytes, bytes]]:
        """Keys and ids of what has a time that has come."""
        stop = rows.EXPIRY + number(self.now + 1)
        for key, _ in self._reader.seek(GRAPH, rows.EXPIRY, stop):
            yield key, key[9:]

    def candidates(self, before: int) -> Iterator[tuple[bytes, int]]:
        """Keys of the candidates of generations below this, the id is `key[8:]`, and
        since when they are: ns, 0 for those of a version that did not note it."""
        for key, since in self._reader.seek(CANDIDATES, b"", number(before)):
            yield key, int.from_bytes(since, "big")
