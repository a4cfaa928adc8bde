# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Attached clients, and readers of logs.

Both read the log that the shim writes, each at a position of its own: a slow one falls
behind in a file and holds nobody up, and where the file has been rotated away beneath it,
it is told how much. Only who asks for it (`lossless`) holds the process up, by telling
the shim how far it has read.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import trio

from pluggd.services.rpc import Receive, Send
from pluggd.services.tasks import Input, Output, Outputs
from pluggd.shim import frames

from .link import Watch, watching
from .logs import LogReader, joined
from .task import Running

STDIN_PIECE = 1 << 16


@asynccontextmanager
async def reading(task: Running, key: str, since: int) -> AsyncGenerator[LogReader]:
    reader = LogReader(task.bundle.log_directory(key), since)
    try:
        yield reader
    finally:
        reader.close()


async def attach(
    task: Running,
    key: str,
    since: int,
    lossless: bool,
    source: Receive[Input],
    out: Send[Output],
) -> None:
    """Until the process is over and all its output is sent."""
    hold = max(since, 0) if lossless else None
    async with watching(task.bundle.path, key, hold) as watch:
        if since < 0:
            since = watch.position if watch is not None else _END
        async with trio.open_nursery() as nursery:
            if watch is not None:
                nursery.start_soon(_pass_input, watch, key, source)
            async with reading(task, key, since) as reader:
                await _follow(reader, watch, out, lossless=lossless)
            nursery.cancel_scope.cancel()


_END = 1 << 62
"""A position behind every log: of one that nobody writes, there is nothing to come."""


async def _pass_input(watch: Watch, key: str, source: Receive[Input]) -> None:
    async for item in source:
        for at in range(0, len(item.data), STDIN_PIECE):
            await watch.send(frames.STDIN, item.data[at : at + STDIN_PIECE])
        if item.width and item.height:
            await watch.send(frames.RESIZE, key, str(item.width), str(item.height))
        if item.close:
            await watch.send(frames.CLOSE_STDIN)


async def _follow(
    reader: LogReader,
    watch: Watch | None,
    out: Send[Output],
    *,
    lossless: bool = False,
    merge: bool = True,
) -> None:
    """Send what is there and what comes, to the end. merge: in fewer, larger pieces."""
    while True:
        over = watch is None or watch.ended
        items = await _read(reader)
        for item in joined(items) if merge else items:
            await out.send(item)
        if lossless and items and watch is not None:
            await watch.send(frames.ACK, str(reader.position))
        if reader.done or (over and not items):
            return
        if not items and watch is not None:
            await watch.beyond(reader.position)


async def _read(reader: LogReader) -> list[Output]:
    """From the page cache at once; what may lie on a disk, in a thread."""
    if reader.recent:
        await trio.lowlevel.checkpoint()
        return reader.read()
    items = await trio.to_thread.run_sync(reader.read)
    reader.recent = not items
    return items


async def logs(
    task: Running, key: str, since: int, follow: bool, out: Send[Output]
) -> None:
    async with reading(task, key, since) as reader:
        if not follow:
            while items := await _read(reader):
                for item in items:
                    await out.send(item)
            return
        async with watching(task.bundle.path, key) as watch:
            await _follow(reader, watch, out, merge=False)


async def read(task: Running, key: str, since: int, wait: float) -> Outputs:
    """One piece, waiting for it when there is none."""
    async with reading(task, key, since) as reader:
        items = await trio.to_thread.run_sync(reader.read)
        if not items and not reader.done and wait > 0:
            async with watching(task.bundle.path, key) as watch:
                with trio.move_on_after(wait):
                    if watch is not None:
                        await watch.beyond(reader.position)
                items = await trio.to_thread.run_sync(reader.read)
        # A log that a shim could not finish has no last record.
        over = not items and task.followed.is_set()
        return Outputs(items=items, next=reader.position, done=reader.done or over)


async def write(task: Running, key: str, data: bytes) -> bool:
    """Whether the process's shim took it."""
    async with watching(task.bundle.path, key) as watch:
        if watch is None:
            return False
        for at in range(0, len(data), STDIN_PIECE):
            if not await watch.send(frames.STDIN, data[at : at + STDIN_PIECE]):
                return False
        await watch.finish()
        with trio.move_on_after(5):
            while not watch.ended:
                await watch.beyond(watch.position)
    return True
