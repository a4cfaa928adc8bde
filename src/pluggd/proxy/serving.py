# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The other end: a Python process that provides a kind on a socket of its own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeVar

import trio

from pluggd.core.dispatch import Dispatcher
from pluggd.core.listener import open_listener
from pluggd.core.server import serve
from pluggd.services.kind import Kind

T = TypeVar("T")


async def serve_kind(
    kind: Kind[T],
    implementation: T,
    address: str | os.PathLike[str],
    *,
    mode: int = 0o660,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answer the methods of a kind on a unix socket until cancelled.

    With the checks, limits and errors of the daemon's own socket. mode: of the socket
    file; the daemon has to be allowed to connect. Raises FailedPrecondition when
    something else is at the address.
    """
    dispatcher = Dispatcher()
    dispatcher.add(kind, implementation)
    async with open_listener(Path(address), mode=mode) as listener:
        await serve(listener, dispatcher, task_status=task_status)
