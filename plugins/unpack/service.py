# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The unpack service: whole images, and the pipeline for those that still arrive."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress

import trio

from pluggd.errors import FailedPrecondition, NotFound
from pluggd.model import oci, platforms
from pluggd.model.types import Descriptor, Platform
from pluggd.services import call
from pluggd.services.rpc import Send
from pluggd.services.transfer import Progress
from pluggd.services.unpack import ImageStates, ImageUsage, Unpacked, Unpacking

from .backends import Backends
from .waiting import Turns


class UnpackService:
    def __init__(self, backends: Backends) -> None:
        self._backends = backends
        self._turns = Turns()

    async def image(
        self,
        *,
        name: str,
        snapshotter: str = "",
        platform: str = "",
        progress: Send[Progress],
    ) -> Unpacked:
        # Here and below: with the first image, not at the start of the daemon.
        from .reading import Reader

        image = await self._backends.images.get(name=name)
        reader = Reader(self._backends.content, _platform(platform))
        try:
            manifest = await reader.ask(lambda: reader.info.best(image.target))
            children = await reader.ask(lambda: reader.info.children(manifest))
        except NotFound as error:
            raise NotFound(
                f'incomplete image "{name}": {error}; pull it for this platform'
            ) from error
        config, layers = parts([child.descriptor for child in children], name)
        async with self.begin(
            config=config, layers=layers, snapshotter=snapshotter, progress=progress
        ) as unpacking:
            for index in range(len(layers)):
                unpacking.layer_ready(index)
            return await unpacking.finish()

    async def check(
        self, *, names: Sequence[str] = (), platform: str = ""
    ) -> ImageStates:
        from .checking import Checker
        from .reading import Reader

        wanted = _platform(platform)
        if names:
            images = [await self._backends.images.get(name=name) for name in names]
        else:
            images = (await self._backends.images.list()).images
        checker = Checker(self._backends, Reader(self._backends.content, wanted))
        await checker.prepare()
        found = {image.name: await checker.check(image) for image in images}
        return ImageStates(images=[found[name] for name in sorted(found)])

    async def usage(self, *, name: str) -> ImageUsage:
        from .usage import measure

        image = await self._backends.images.get(name=name)
        return await measure(self._backends, image)

    @asynccontextmanager
    async def begin(
        self,
        *,
        config: Descriptor,
        layers: Sequence[Descriptor],
        snapshotter: str = "",
        progress: Send[Progress] | None = None,
    ) -> AsyncGenerator[Unpacking]:
        from .reading import Reader
        from .unpacking import ChainUnpacking

        if not snapshotter:
            snapshotter = (await self._backends.snapshots.snapshotters()).default
        diff_ids = await Reader(self._backends.content).diff_ids(config)
        if len(diff_ids) != len(layers):
            raise FailedPrecondition(
                f"mismatched image rootfs and manifest layers: {len(diff_ids)} diff IDs "
                f"in the configuration {config.digest}, and {len(layers)} layers: "
                "failed precondition"
            )
        failure: Exception | None = None
        async with self._leased():
            chain = ChainUnpacking(
                self._backends,
                self._turns,
                config,
                layers,
                diff_ids,
                snapshotter,
                progress,
            )
            await chain.find()
            async with trio.open_nursery() as nursery:

                async def work() -> None:
                    nonlocal failure
                    try:
                        await chain.work()
                    except Exception as error:  # noqa: BLE001  # raised below
                        failure = error
                        nursery.cancel_scope.cancel()

                nursery.start_soon(work)
                try:
                    yield chain
                except Exception as error:  # noqa: BLE001  # raised below, unwrapped
                    failure = failure or error
                nursery.cancel_scope.cancel()
            if failure is not None:
                raise failure

    @asynccontextmanager
    async def _leased(self) -> AsyncGenerator[None]:
        """The lease of the call, or one for as long as the block runs."""
        if call.lease():
            yield
            return
        leases = self._backends.leases
        id_ = f"unpack-{time.time_ns()}-{secrets.token_hex(4)}"
        try:
            await leases.create(id=id_, expires_in=self._backends.config.lease_expiry)
            with call.using(lease=id_):
                yield
        finally:
            # Also when cancelled, and also while the lease was being made.
            with (
                trio.CancelScope(shield=True, deadline=trio.current_time() + 5),
                suppress(NotFound),
            ):
                await leases.delete(id=id_)


def parts(
    children: Sequence[Descriptor], name: str
) -> tuple[Descriptor, list[Descriptor]]:
    """The configuration and the layers of a manifest.

    Raises FailedPrecondition for what is no container image.
    """
    configs = [child for child in children if child.media_type in oci.CONFIGS]
    layers = [child for child in children if child not in configs]
    other = next((one for one in layers if not oci.is_layer(one.media_type)), None)
    if len(configs) != 1 or other is not None:
        what = "no configuration" if other is None else f"a {other.media_type}"
        raise FailedPrecondition(
            f'image "{name}" has {what} and cannot be unpacked: failed precondition'
        )
    return configs[0], layers


def _platform(text: str) -> Platform | None:
    return platforms.parse(text) if text else None
