# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The tables in which this package keeps its own state.

A provider opens `TABLES` before the first transaction and refuses to open a
table whose name begins with `RESERVED` for anybody else. `namespaces` is an
ordinary table: its plugin owns it, and a transaction adds the record of a
namespace that comes into being with its first object.

They are few because a commit writes the path to the root of each table that it
touches: what changes together lies in one (`rows.py`).
"""

from __future__ import annotations

RESERVED = "objects."

GRAPH = "objects.graph"
"""Nodes, edges, what expires, counters: the rows of `rows.py`."""

EVENTS = "objects.events"
"""Sequence number, 8 bytes big-endian -> encoded Envelope."""

CANDIDATES = "objects.candidates"
"""Generation, 8 bytes big-endian, and id -> nothing (`collector.py`). Not in GRAPH,
because how many there are is a figure that is asked for often."""

NAMESPACES = "namespaces"

TABLES = (GRAPH, EVENTS, CANDIDATES, NAMESPACES)
