# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""One chain being made: layer upon layer, each as soon as its blob is here."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from contextlib import suppress

import trio

from pluggd.errors import AlreadyExists, FailedPrecondition, NotFound, PluggdError
from pluggd.model.types import Descriptor, Mount
from pluggd.services import call
from pluggd.services.content import Info
from pluggd.services.diff import Applying
from pluggd.services.leases import Resource
from pluggd.services.rpc import Send
from pluggd.services.snapshots import REFERENCE
from pluggd.services.transfer import Progress
from pluggd.services.unpack import Unpacked

from .backends import Backends
from .chain import chain_ids
from .waiting import Turns

UNCOMPRESSED = "containerd.io/uncompressed"
SNAPSHOT_LABEL = "containerd.io/gc.ref.snapshot."
_TRIES = 3


class LayerProgress:
    """Takes the progress of one extraction and names the layer in it."""

    def __init__(self, digest: str, out: Send[Progress]) -> None:
        self._digest = digest
        self._out = out

    async def send(self, value: Applying, /) -> None:
        await self._out.send(
            Progress(
                event="extracting",
                name=self._digest,
                progress=value.read,
                total=value.total,
            )
        )


class Nowhere:
    """Where progress goes that nobody asked for."""

    async def send(self, value: object, /) -> None: ...


class ChainUnpacking:
    """What `begin` gives. `find`, then `work` beside whatever calls `layer_ready`.

    All of it in the namespace and under the lease of the call.
    """

    def __init__(
        self,
        backends: Backends,
        turns: Turns,
        config: Descriptor,
        layers: Sequence[Descriptor],
        diff_ids: Sequence[str],
        snapshotter: str,
        progress: Send[Progress] | None,
    ) -> None:
        self._backends = backends
        self._turns = turns
        self._config = config
        self._layers = layers
        self._diff_ids = diff_ids
        self._chain = chain_ids(diff_ids)
        self._snapshotter = snapshotter
        self._progress: Send[Progress] = progress or Nowhere()
        self._ready = [trio.Event() for _ in layers]
        self._done = trio.Event()
        self._skipped = 0

    @property
    def skipped(self) -> int:
        return self._skipped

    def layer_ready(self, index: int) -> None:
        self._ready[index].set()

    async def finish(self) -> Unpacked:
        await self._done.wait()
        return Unpacked(
            chain_id=self._chain[-1] if self._chain else "",
            snapshotter=self._snapshotter,
            layers=len(self._layers),
            skipped=self._skipped,
        )

    async def find(self) -> None:
        """Look from the top for what is there, and hold it."""
        for count in range(len(self._chain), 0, -1):
            if await self._exists(self._chain[count - 1]):
                self._skipped = count
                break
        for layer in self._layers[: self._skipped]:
            await self._report("exists", layer)

    async def work(self) -> None:
        """Make what is missing. Raises as `Unpack.image`."""
        for index in range(self._skipped, len(self._layers)):
            await self._ready[index].wait()
            await self._layer(index)
        if self._chain:
            key = f"{SNAPSHOT_LABEL}{self._snapshotter}"
            await self._label(self._config.digest, key, self._chain[-1])
        self._done.set()

    async def _layer(self, index: int) -> None:
        layer, name = self._layers[index], self._chain[index]
        async with self._turns.turn(call.namespace(), self._snapshotter, name):
            if await self._exists(name):
                await self._report("exists", layer)
                return
            await self._report("extracting", layer)
            await self._extract(index)
        with suppress(NotFound):  # a blob that went is a snapshot all the same
            await self._label(layer.digest, UNCOMPRESSED, self._diff_ids[index])
        await self._report("extracted", layer)

    async def _extract(self, index: int) -> None:
        layer, name = self._layers[index], self._chain[index]
        snapshots, sn = self._backends.snapshots, self._snapshotter
        parent = self._chain[index - 1] if index else ""
        prepared = await self._prepare(name, parent)
        if prepared is None:
            return
        key, mounts = prepared
        try:
            applied = await self._backends.diff.apply(
                diff=layer,
                mounts=mounts,
                progress=LayerProgress(layer.digest, self._progress),
            )
            if applied.digest != self._diff_ids[index]:
                raise FailedPrecondition(
                    f"wrong diff id calculated on extraction: layer {layer.digest} is "
                    f"{applied.digest}, and the configuration {self._config.digest} "
                    f"names {self._diff_ids[index]}: failed precondition"
                )
            await snapshots.commit(name=name, key=key, snapshotter=sn)
        except BaseException as error:
            with trio.CancelScope(shield=True), suppress(PluggdError):
                await snapshots.remove(key=key, snapshotter=sn)
            # Somebody else, in another process of ours or not, was faster.
            if not isinstance(error, AlreadyExists) or not await self._exists(name):
                raise

    async def _prepare(self, name: str, parent: str) -> tuple[str, list[Mount]] | None:
        """A key and its mounts; None when the snapshotter has what was to be made."""
        tries = 0
        while True:
            key = f"extract-{time.time_ns() % 10**9}-{secrets.token_urlsafe(3)} {name}"
            try:
                made = await self._backends.snapshots.prepare(
                    key=key,
                    parent=parent,
                    labels={REFERENCE: name},
                    snapshotter=self._snapshotter,
                )
            except AlreadyExists:
                # It had it, or got it meanwhile; or the key was in use.
                if await self._exists(name):
                    return None
                tries += 1
                if tries == _TRIES:
                    raise
            else:
                return key, made.mounts

    async def _exists(self, name: str) -> bool:
        """Whether there is this snapshot; if so, the lease holds it."""
        # First hold, then look: in the other order it could be collected in between.
        await self._backends.leases.add_resource(
            id=call.lease(),
            resource=Resource(id=name, type=f"snapshots/{self._snapshotter}"),
        )
        try:
            found = await self._backends.snapshots.stat(
                key=name, snapshotter=self._snapshotter
            )
        except NotFound:
            return False
        return found.kind == "committed"

    async def _label(self, digest: str, key: str, value: str) -> None:
        info = await self._backends.content.info(digest=digest)
        if info.labels.get(key) != value:
            await self._backends.content.update(
                info=Info(digest=digest, labels={key: value}), fields=[f"labels.{key}"]
            )

    async def _report(self, event: str, layer: Descriptor) -> None:
        done = 0 if event == "extracting" else layer.size
        with suppress(trio.BrokenResourceError):
            await self._progress.send(
                Progress(
                    event=event, name=layer.digest, progress=done, total=layer.size
                )
            )
