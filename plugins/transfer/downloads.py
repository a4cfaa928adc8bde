# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Blobs from a registry into the content store, each at most once at a time.

Who asks for a blob that another pull is fetching waits for that one and sees its
progress; then it is there, or the next in line goes on where the first stopped. The
ingest of a blob has the same name in every pull, which is how one goes on after the
daemon was killed.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from functools import partial

import trio

from pluggd.errors import (
    AlreadyExists,
    DataLoss,
    FailedPrecondition,
    NotFound,
    Unavailable,
)
from pluggd.model.types import Descriptor
from pluggd.services.content import Content, Info
from pluggd.services.resolver import Remote
from pluggd.struct import Struct, field

from .origin import source_label
from .tasks import together

Report = Callable[[str, int, int], None]
"""Told of what happens: event, progress, total."""
Blob = Callable[[Descriptor, int], AsyncGenerator[bytes]]
"""`Remote.blob`, which knows where else to look."""


class _Shared(Struct):
    """A blob that somebody fetches or wants to fetch."""

    turn: trio.Lock = field(default_factory=trio.Lock)
    listeners: list[Report] = field(default_factory=list[Report])
    state: tuple[str, int, int] = ("waiting", 0, 0)

    def report(self, event: str, progress: int, total: int) -> None:
        self.state = (event, progress, total)
        for listener in self.listeners:
            listener(event, progress, total)


class Downloads:
    """The downloads of the daemon. limit: how many run at once."""

    def __init__(self, content: Content, limit: int) -> None:
        self._content = content
        self._limit = trio.CapacityLimiter(limit)
        self._shared: dict[str, _Shared] = {}

    async def get(
        self,
        remote: Remote,
        descriptor: Descriptor,
        ref: str,
        report: Report,
        labels: Mapping[str, str] = {},
        urls: Sequence[str] = (),
    ) -> int:
        """Have the blob in this namespace, on the lease of the call; bytes fetched.

        labels: set on it in any case. urls: see `Remote.blob`. Raises what the remote
        raises, and DataLoss when what came has another digest; of that nothing is kept.
        """
        blob = partial(remote.blob, urls=urls) if urls else remote.blob
        async with self._turn(descriptor.digest, report) as shared:
            return await self._get(remote, blob, descriptor, ref, shared, labels)

    @asynccontextmanager
    async def _turn(self, digest: str, report: Report) -> AsyncGenerator[_Shared]:
        shared = self._shared.setdefault(digest, _Shared())
        shared.listeners.append(report)
        try:
            report(*shared.state)
            async with shared.turn:
                yield shared
        finally:
            shared.listeners.remove(report)
            if not shared.listeners:
                del self._shared[digest]

    async def _get(
        self,
        remote: Remote,
        blob: Blob,
        descriptor: Descriptor,
        ref: str,
        shared: _Shared,
        labels: Mapping[str, str],
    ) -> int:
        size = descriptor.size
        wanted = {**labels, **source_label({}, *remote.source)}
        for again in (False, True):
            offset = 0
            try:
                state = await self._content.write(
                    ref=ref, action="stat", total=size, expected=descriptor.digest
                )
                if state.offset > size:
                    await self._content.abort(ref=ref)
                    continue
                offset = state.offset
                if offset < size:
                    shared.report("waiting", offset, size)
                    async with self._limit:
                        await self._fetch(blob, descriptor, ref, offset, shared)
                await self._content.write(
                    ref=ref,
                    action="commit",
                    offset=size,
                    total=size,
                    expected=descriptor.digest,
                    labels=wanted,
                )
            except AlreadyExists:
                await self.label(remote, descriptor.digest, labels)
                shared.report("exists", size, size)
                return 0
            except FailedPrecondition as error:
                # Not what was asked for: none of it can be used again.
                await self._abort(ref)
                if not offset or again:
                    raise DataLoss(
                        f"{'/'.join(remote.source)} sent other bytes than "
                        f"{descriptor.digest}: {error}: data loss"
                    ) from error
            except DataLoss:
                await self._abort(ref)
                raise
            else:
                shared.report("done" if offset < size else "exists", size, size)
                return size - offset
        raise DataLoss(f"{descriptor.digest} cannot be fetched: data loss")

    async def drop(self, refs: Sequence[str]) -> None:
        """Abort these ingests where they are, except those that others are busy with."""
        with trio.CancelScope(shield=True, deadline=trio.current_time() + 5):
            for ref in refs:
                with suppress(Unavailable):
                    await self._abort(ref)

    async def _abort(self, ref: str) -> None:
        with suppress(NotFound):
            await self._content.abort(ref=ref)

    async def _fetch(
        self,
        blob: Blob,
        descriptor: Descriptor,
        ref: str,
        offset: int,
        shared: _Shared,
    ) -> None:
        """Bring what is missing. One piece is received while the last one is hashed
        and written."""
        send, receive = trio.open_memory_channel[bytes](1)
        size = descriptor.size
        failed: list[Exception] = []

        async def read() -> None:
            async with send, aclosing(blob(descriptor, offset)) as pieces:
                try:
                    async for piece in pieces:
                        await send.send(piece)
                except Exception as error:  # noqa: BLE001  # raised below
                    # After what came before it is written: the next pull goes on there.
                    failed.append(error)

        async def write() -> None:
            written = offset
            async with receive:
                async for piece in receive:
                    await self._content.write(
                        ref=ref,
                        offset=written,
                        data=piece,
                        total=size,
                        expected=descriptor.digest,
                    )
                    written += len(piece)
                    shared.report("downloading", written, size)

        shared.report("downloading", offset, size)
        await together(read, write)
        if failed:
            raise failed[0]

    async def manifest(
        self,
        remote: Remote,
        descriptor: Descriptor,
        ref: str,
        report: Report,
        read: Callable[[str], Awaitable[bytes]],
        labels: Callable[[bytes], Mapping[str, str]],
    ) -> tuple[bytes, int]:
        """As `get`, for what is small and decides what else is needed: its bytes, and
        how many of them were fetched.

        read: gives those of a blob that is here. labels: of these bytes; what it
        raises is raised, and nothing is kept.
        """
        size, digest = descriptor.size, descriptor.digest
        async with self._turn(digest, report) as shared:
            try:
                state = await self._content.write(
                    ref=ref, action="stat", total=size, expected=digest
                )
                if state.offset == size:
                    await self._content.write(
                        ref=ref, action="commit", offset=size, expected=digest
                    )
                    raise AlreadyExists(digest)
            except AlreadyExists:
                data = await read(digest)
                await self.label(remote, digest, labels(data))
                shared.report("exists", size, size)
                return data, 0
            try:
                data = await remote.manifest(descriptor)
                wanted = {**labels(data), **source_label({}, *remote.source)}
                await self._content.write(
                    ref=ref,
                    action="commit",
                    data=data,
                    total=size,
                    expected=digest,
                    labels=wanted,
                )
            except BaseException:
                with trio.CancelScope(shield=True, deadline=trio.current_time() + 5):
                    await self._abort(ref)
                raise
            shared.report("done", size, size)
            return data, size

    async def label(
        self, remote: Remote, digest: str, labels: Mapping[str, str]
    ) -> None:
        """Set these labels on a blob that is here, and that it is there, too."""
        info = await self._content.info(digest=digest)
        wanted = {**labels, **source_label(info.labels, *remote.source)}
        missing = {
            key: value for key, value in wanted.items() if info.labels.get(key) != value
        }
        if missing:
            await self._content.update(
                info=Info(digest=digest, labels=missing),
                fields=[f"labels.{key}" for key in missing],
            )
