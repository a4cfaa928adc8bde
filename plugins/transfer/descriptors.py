# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Archives by descriptor: files and pipes that a caller handed over."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager

import trio

from pluggd.errors import InvalidArgument, ResourceExhausted
from pluggd.services.rpc import Fd


@contextmanager
def owned(fd: Fd | None) -> Generator[None]:
    """Close the descriptor that the caller handed over."""
    try:
        yield
    finally:
        if fd is not None:
            os.close(fd)


async def reading(fd: int, chunk_size: int) -> AsyncGenerator[bytes]:
    """The bytes of a file or a pipe, from where it stands."""
    try:
        if stat.S_ISREG(os.fstat(fd).st_mode):
            while data := await trio.to_thread.run_sync(os.read, fd, chunk_size):
                yield data
            return
        async with trio.lowlevel.FdStream(os.dup(fd)) as stream:
            async for chunk in stream:
                yield bytes(chunk)
    except (OSError, trio.BrokenResourceError) as error:
        raise InvalidArgument(
            f"the descriptor cannot be read: {_reason(error)}; pass a file or a pipe "
            "that is open for reading: invalid argument"
        ) from error


@asynccontextmanager
async def writing(fd: int) -> AsyncGenerator[Callable[[bytes], Awaitable[None]]]:
    """Write to a file or a pipe, all of it."""

    def write(data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]

    async def to_file(data: bytes) -> None:
        await trio.to_thread.run_sync(write, data)

    try:
        if stat.S_ISREG(os.fstat(fd).st_mode):
            yield to_file
            return
        async with trio.lowlevel.FdStream(os.dup(fd)) as stream:
            yield stream.send_all
    except (OSError, trio.BrokenResourceError) as error:
        full = isinstance(error, OSError) and error.errno in (
            errno.ENOSPC,
            errno.EDQUOT,
        )
        raise (ResourceExhausted if full else InvalidArgument)(
            f"the descriptor cannot be written: {_reason(error)}"
        ) from error


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
