# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The transfer service: descriptors and streams around the importer and exporter."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Generator,
    Sequence,
)
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from itertools import count

import trio

from pluggd.errors import InvalidArgument, NotFound, ResourceExhausted
from pluggd.plugin import inline
from pluggd.services import call
from pluggd.services.rpc import Fd, Receive, Send
from pluggd.services.transfer import (
    ExportItem,
    ExportResult,
    Imported,
    Progress,
    TransferList,
    Transferring,
)
from plugins.transfer import exporter, importer
from plugins.transfer.backends import Backends
from plugins.transfer.progress import Reporter, reporting


class TransferService:
    """Keeps the table of what is under way; every transfer has a lease."""

    def __init__(self, backends: Backends) -> None:
        self._backends = backends
        self._numbers = count(1)
        self._running: dict[str, tuple[str, str, int, Reporter]] = {}

    async def import_(
        self,
        *,
        base_name: str = "",
        index_name: str = "",
        digests: bool = False,
        platforms: Sequence[str] = (),
        all_platforms: bool = False,
        labels: dict[str, str] = {},
        fd: Fd | None = None,
        source: Receive[bytes],
        progress: Send[Progress],
    ) -> Imported:
        with _owned(fd):
            options = importer.Options(
                base_name=base_name,
                index_name=index_name,
                digests=digests,
                platforms=platforms,
                all_platforms=all_platforms,
                labels=dict(labels),
            )
            async with self._transfer("import") as (reporter, ref):
                work = importer.Importer(self._backends, options, reporter, ref)
                async with reporting(reporter, progress.send):
                    if fd is None:
                        return await work.run(source.__aiter__())
                    chunks = _read(fd, self._backends.config.chunk_size)
                    async with aclosing(chunks):
                        return await work.run(chunks)

    async def export(
        self,
        *,
        names: Sequence[str],
        platforms: Sequence[str] = (),
        all_platforms: bool = False,
        skip_manifest_json: bool = False,
        skip_non_distributable: bool = False,
        fd: Fd | None = None,
        out: Send[ExportItem],
    ) -> ExportResult:
        with _owned(fd):
            options = exporter.Options(
                platforms=platforms,
                all_platforms=all_platforms,
                skip_manifest_json=skip_manifest_json,
                skip_non_distributable=skip_non_distributable,
            )

            async def send_progress(state: Progress) -> None:
                await out.send(ExportItem(progress=state))

            async def send_data(data: bytes) -> None:
                await out.send(ExportItem(data=data))

            async with self._transfer("export") as (reporter, _):
                work = exporter.Exporter(self._backends, options, reporter)
                async with reporting(reporter, send_progress):
                    if fd is None:
                        return ExportResult(size=await work.run(names, send_data))
                    async with _writer(fd) as write:
                        return ExportResult(size=await work.run(names, write))

    @inline
    def status(self) -> TransferList:
        namespace = call.namespace()
        return TransferList(
            transfers=[
                Transferring(
                    id=ref,
                    operation=operation,
                    started_at=started,
                    progress=list(reporter.latest.values()),
                )
                for ref, (space, operation, started, reporter) in self._running.items()
                if space == namespace
            ]
        )

    @asynccontextmanager
    async def _transfer(self, operation: str) -> AsyncGenerator[tuple[Reporter, str]]:
        """A row in the table and a lease, for as long as the block runs."""
        namespace = call.namespace()
        ref = f"{operation}-{time.time_ns()}-{next(self._numbers)}"
        reporter = Reporter()
        self._running[ref] = (namespace, operation, time.time_ns(), reporter)
        try:
            if call.lease():
                yield reporter, ref
                return
            try:
                lease = await self._backends.leases.create(
                    id=ref, expires_in=self._backends.config.lease_expiry
                )
                with call.using(lease=lease.id):
                    yield reporter, ref
            finally:
                # Also when cancelled, and also while the lease was being made: what was
                # under way then still happens, and before this. That it is gone means
                # that it expired, or that an operator removed it.
                deadline = trio.current_time() + 5
                with (
                    trio.CancelScope(shield=True, deadline=deadline),
                    suppress(NotFound),
                ):
                    await self._backends.leases.delete(id=ref)
        finally:
            del self._running[ref]


@contextmanager
def _owned(fd: Fd | None) -> Generator[None]:
    """Close the descriptor that the caller handed over."""
    try:
        yield
    finally:
        if fd is not None:
            os.close(fd)


async def _read(fd: int, chunk_size: int) -> AsyncGenerator[bytes]:
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
async def _writer(fd: int) -> AsyncGenerator[Callable[[bytes], Awaitable[None]]]:
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
