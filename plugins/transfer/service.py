# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The transfer service: leases, descriptors and streams around what does the work.

What does it is imported by the first transfer, with tarfile and all that it needs:
daemons start far more often than they import.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from itertools import count

import trio

from pluggd.errors import NotFound, Unavailable
from pluggd.model.image_names import parse_image_name
from pluggd.plugin import inline
from pluggd.services import call
from pluggd.services.resolver import Access
from pluggd.services.rpc import Fd, Receive, Send
from pluggd.services.transfer import (
    ExportItem,
    ExportResult,
    Imported,
    Progress,
    Pulled,
    Pushed,
    Tagged,
    TransferList,
    Transferring,
)

from .backends import Backends
from .descriptors import owned, reading, writing
from .downloads import Downloads
from .progress import Reporter, reporting

OF = "pluggd.io/transfer"
"""The label of a transfer's lease: the operation, and the image where there is one."""

MAX_NOTE = 1000


class TransferService:
    """Keeps the table of what is under way; every transfer has a lease."""

    def __init__(self, backends: Backends) -> None:
        self._backends = backends
        self._downloads = Downloads(
            backends.content, backends.config.max_concurrent_downloads
        )
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
        from . import importer

        with owned(fd):
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
                    chunks = reading(fd, self._backends.config.chunk_size)
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
        from . import exporter

        with owned(fd):
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
                    async with writing(fd) as write:
                        return ExportResult(size=await work.run(names, write))

    async def pull(
        self,
        *,
        name: str,
        platforms: Sequence[str] = (),
        all_platforms: bool = False,
        unpack: bool = False,
        snapshotter: str = "",
        labels: dict[str, str] = {},
        plain_http: bool = False,
        username: str = "",
        password: str = "",
        hosts_dir: str = "",
        progress: Send[Progress],
    ) -> Pulled:
        from . import pulling

        options = pulling.Options(
            name=name,
            platforms=platforms,
            all_platforms=all_platforms,
            unpack=unpack,
            snapshotter=snapshotter,
            labels=dict(labels),
            access=Access(
                plain_http=plain_http,
                username=username,
                password=password,
                hosts_dir=hosts_dir,
            ),
        )
        parse_image_name(name)
        async with self._transfer("pull", name, resumable=True) as (reporter, _):
            work = pulling.Puller(self._backends, self._downloads, options, reporter)
            async with reporting(reporter, progress.send):
                pulled = await work.run()
        await self._forget_dead("pull", name)
        return pulled

    async def push(
        self,
        *,
        name: str,
        source: str = "",
        platform: str = "",
        plain_http: bool = False,
        username: str = "",
        password: str = "",
        hosts_dir: str = "",
        progress: Send[Progress],
    ) -> Pushed:
        from . import pushing

        access = Access(
            plain_http=plain_http,
            username=username,
            password=password,
            hosts_dir=hosts_dir,
        )
        async with self._transfer("push", name) as (reporter, _):
            work = pushing.Pushing(self._backends, name, access, reporter)
            async with reporting(reporter, progress.send):
                return await work.run(source or name, platform)

    async def tag(
        self, *, source: str, names: Sequence[str], force: bool = False
    ) -> Tagged:
        images = await self._backends.tag(source, names, force=force)
        return Tagged(images=images)

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
    async def _transfer(
        self, operation: str, name: str = "", *, resumable: bool = False
    ) -> AsyncGenerator[tuple[Reporter, str]]:
        """A row in the table and a lease, for as long as the block runs.

        name: of the image, where there is one; noted on the lease. resumable: what came
        of its blobs outlives a block that was cancelled or could not go on.
        """
        namespace = call.namespace()
        ref = f"{operation}-{time.time_ns()}-{next(self._numbers)}"
        reporter = Reporter()
        self._running[ref] = (namespace, operation, time.time_ns(), reporter)
        unfinished = False
        try:
            if call.lease():
                yield reporter, ref
                return
            try:
                lease = await self._backends.leases.create(
                    id=ref,
                    expires_in=self._backends.config.lease_expiry,
                    labels={OF: _note(operation, name)},
                )
                with call.using(lease=lease.id):
                    yield reporter, ref
            except BaseException as error:
                # Not what was refused, or does not fit the disk. What is no Exception is
                # a cancellation, or a group of them.
                stopped = isinstance(error, Unavailable)
                stopped |= not isinstance(error, Exception)
                unfinished = resumable and stopped
                raise
            finally:
                # Also when cancelled, and also while the lease was being made: what was
                # under way then still happens, and before this. That it is gone means
                # that it expired, or that an operator removed it.
                deadline = trio.current_time() + 5
                with (
                    trio.CancelScope(shield=True, deadline=deadline),
                    suppress(NotFound),
                ):
                    if unfinished:
                        await self._keep_unfinished(ref, operation, name)
                    await self._backends.leases.delete(id=ref)
        finally:
            del self._running[ref]

    async def _keep_unfinished(self, ref: str, operation: str, name: str) -> None:
        """Hold the begun ingests of a transfer, and nothing else that its lease holds,
        for the next one, by a lease that this one then deletes."""
        content, leases = self._backends.content, self._backends.leases
        held = (await leases.list_resources(id=ref)).resources
        begun = {
            one.ref for one in (await content.list_statuses()).statuses if one.offset
        }
        kept = [one for one in held if one.type == "ingests" and one.id in begun]
        if not kept:
            return
        expiry, note = self._backends.config.lease_expiry, _note(operation, name)
        rest = await leases.create(
            id=f"{ref}-rest", expires_in=expiry, labels={OF: note}
        )
        for resource in kept:
            await leases.add_resource(id=rest.id, resource=resource)
        # Else one who tries every minute would have a lease for each try.
        await self._forget_dead(operation, name, but=rest.id)

    async def _forget_dead(self, operation: str, name: str, but: str = "") -> None:
        """Delete the leases of earlier ones that did not come to their end, except this
        one: what they wanted is done, or held by it. The image keeps what is needed."""
        quoted = _note(operation, name).replace("\\", "\\\\").replace('"', '\\"')
        page = await self._backends.leases.list(filters=[f'labels."{OF}"=="{quoted}"'])
        for lease in page.leases:
            if lease.id not in self._running and lease.id != but:
                with suppress(NotFound):
                    await self._backends.leases.delete(id=lease.id)


def _note(operation: str, name: str) -> str:
    return f"{operation} {name}"[:MAX_NOTE].rstrip()
