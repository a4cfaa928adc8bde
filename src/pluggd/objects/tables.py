# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The tables in which this package keeps its own state.

A provider opens `TABLES` before the first transaction and refuses to open a
table whose name begins with `RESERVED` for anybody else. `namespaces` is an
ordinary table: its plugin owns it, and a transaction adds the record of a
namespace that comes into being with its first object.
"""

from __future__ import annotations

RESERVED = "objects."

STATE = "objects.state"
"""Counters of this package: name -> 8 bytes, big-endian."""

SEQUENCES = "objects.sequences"
"""Counters of the stores: namespace and name -> 8 bytes, big-endian."""

EVENTS = "objects.events"
"""Sequence number, 8 bytes big-endian -> encoded Envelope."""

NODE_IDS = "objects.node_ids"
"""Type, namespace and name -> id. An id has 8 bytes and is never used twice."""

NODES = "objects.nodes"
"""Id -> flags, root_until, and the full type, namespace and name (`graph_view.py`)."""

EDGES_OUT = "objects.edges_out"
"""Keeper's id, kind, kept id -> nothing."""

EDGES_IN = "objects.edges_in"
"""Kept id, kind, keeper's id -> nothing: the same edges from the other end."""

EXPIRY = "objects.expiry"
"""Time in ns, 8 bytes big-endian, and id -> nothing."""

CANDIDATES = "objects.candidates"
"""Generation, 8 bytes big-endian, and id -> nothing (`collector.py`)."""

GAINED = "objects.gained"
"""Id -> nothing: what gained support while a collection pauses in the middle."""

NAMESPACES = "namespaces"

TABLES = (
    STATE,
    SEQUENCES,
    EVENTS,
    NODE_IDS,
    NODES,
    EDGES_OUT,
    EDGES_IN,
    EXPIRY,
    CANDIDATES,
    GAINED,
    NAMESPACES,
)
