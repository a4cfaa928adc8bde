# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The rows of the table GRAPH: which keys there are, and how they lie.

    type, namespace and name    -> id                    (`keys.py`)
    STATE name                  -> 8 bytes               counters of this package
    GAINED id                   -> nothing               (`graph.py`)
    EXPIRY time id              -> nothing
    SEQUENCE namespace, name    -> 8 bytes               counters of the stores
    NODE id                     -> the node (`graph_view.py`)
    NODE id kind keeper's id    -> nothing               an edge, from the kept end
    NODE id kind kept id        -> nothing               an edge, from the keeper's end

Ids, times and counters have 8 bytes, big-endian. An id is never used twice. The first
byte of all but the names is one that no UTF-8 text has, so a name's key is as long as
in any other table.

A node lies with its edges, and new nodes lie with each other: what one change writes is
on few pages. They are the last of the table because LMDB fills its pages only where keys
are added behind all others; a counter behind them would leave every page half empty.
"""

from __future__ import annotations

from pluggd.objects.kv import ReadKV
from pluggd.objects.tables import GRAPH

STATE = b"\xf8"
GAINED = b"\xf9"
EXPIRY = b"\xfa"
SEQUENCE = b"\xfb"
NODE = b"\xff"

NAMES_END = STATE
"""All names are below this key."""

LAST_ID = STATE + b"node_id"
"""The key of an id, at least that of every node that was removed. A new node's id is
greater than it and than those that are there; so creating one does not write it."""

NODE_KEY = 9
"""Bytes of a node's key; those of an edge are longer."""

OUT = 8
"""Added to the kind of an edge in the key of its keeper's end."""

_KIND = NODE_KEY
_EDGES_END = bytes((OUT + OUT,))
OTHER = NODE_KEY + 1
"""Where in the key of an edge the id of the other end begins."""

_INTO_KINDS = tuple(bytes((kind,)) for kind in range(OUT))
_OUT_KINDS = tuple(bytes((kind | OUT,)) for kind in range(OUT))
_TWIN_KINDS = (*_OUT_KINDS, *_INTO_KINDS)


def newest_id(kv: ReadKV) -> int:
    """The greatest id that may have been given."""
    newest = int.from_bytes(kv.get(GRAPH, LAST_ID) or b"")
    last = kv.last(GRAPH)
    if last is not None and last[0].startswith(NODE):
        newest = max(newest, int.from_bytes(last[0][1:NODE_KEY]))
    return newest


def into(keeper: bytes, kind: int, kept: bytes) -> bytes:
    """The key of an edge's kept end."""
    return NODE + kept + _INTO_KINDS[kind] + keeper


def out(keeper: bytes, kind: int, kept: bytes) -> bytes:
    """The key of an edge's keeper's end."""
    return NODE + keeper + _OUT_KINDS[kind] + kept


def into_range(id_: bytes, low: int = 0, high: int = OUT) -> tuple[bytes, bytes]:
    """First key, and end, of the edges by which others keep this node.

    low, high: of the kinds; `high` itself is not one.
    """
    node = NODE + id_
    return node + bytes((low,)), node + bytes((high,))


def out_range(id_: bytes, low: int = 0, high: int = OUT) -> tuple[bytes, bytes]:
    """As `into_range`, of the edges by which this node keeps others."""
    return into_range(id_, OUT | low, OUT + high)


def edges_range(id_: bytes, low: int = 0) -> tuple[bytes, bytes]:
    """First key, and end, of all edges at this node, those by which it is kept first.

    low: the least kind of those.
    """
    node = NODE + id_
    return node + bytes((low,)), node + _EDGES_END


def edge(key: bytes) -> tuple[bytes, int, bytes]:
    """Keeper, kind and kept of an edge, from the key of either end."""
    own, kind, other = key[1:_KIND], key[_KIND], key[OTHER:]
    return (own, kind ^ OUT, other) if kind & OUT else (other, kind, own)


def twin(key: bytes) -> bytes:
    """The key of an edge's other end."""
    return NODE + key[OTHER:] + _TWIN_KINDS[key[_KIND]] + key[1:_KIND]
