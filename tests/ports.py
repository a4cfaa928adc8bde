# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""A port for a server that cannot choose one itself, and that nobody takes meanwhile.

A port that was free a moment ago may be somebody's when the server starts; and who asks
a free port whether somebody answers yet may be given that port himself, and answer.
"""

from __future__ import annotations

import socket
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def reserved_port() -> Generator[int]:
    """A port on loopback, for the block. Bound and not listened on: who sets SO_REUSEADDR,
    as servers do, may listen on it, and the system gives it to nobody."""
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        port: int = holder.getsockname()[1]
        yield port
