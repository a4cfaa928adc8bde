# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""How much one peer may ask for, and how much the daemon holds for it.

Every figure bounds memory or time that one connection can cost the others. They
are told to each client (`rpc.v1.hello`), and the decoder takes its own from here.
"""

from __future__ import annotations

from pluggd.struct import Struct

NATIVE_DEPTH = 1024
"""Nesting at which msgpack itself gives up; a higher limit would be a false promise."""

KIB = 1024
MIB = 1024 * KIB


class Limits(Struct, frozen=True):
    """Limits of one side of a connection; each at least 1."""

    message_size: int = 16 * MIB
    """Bytes of one message, in either direction. Larger results are paged or streamed."""

    depth: int = 64
    """Levels of arrays and maps in one message; its own array is the first."""

    elements: int = 100_000
    """Values in one message: elements of arrays plus keys and values of maps."""

    requests: int = 1024
    """Requests of one connection that wait for their answer."""

    streams: int = 64
    """Requests of one connection that stream, among the `requests`."""

    descriptors: int = 16
    """File descriptors with one message."""

    queued: int = 4 * MIB
    """Bytes waiting for a slow reader at which its input is no longer read and its
    streams wait."""

    queued_max: int = 64 * MIB
    """Bytes waiting for a slow reader at which its connection is closed."""

    connections: int = 4096
    """Connections at a time; the next one is told so and closed."""


TRUSTING = Limits(message_size=64 * MIB, depth=NATIVE_DEPTH, elements=2**31)
"""For a client, which reads what its own daemon sends."""
