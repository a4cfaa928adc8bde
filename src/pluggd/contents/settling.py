# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Whether an ingest is or stays young, and from a young to an ordinary one: its record,
then its file."""

from __future__ import annotations

import logging

import trio

from pluggd.contents.catalog import Catalog
from pluggd.contents.ingests import Ingests
from pluggd.contents.locks import RefLocks
from pluggd.contents.rules import Write
from pluggd.contents.young import MAX_AGE, Young, YoungIngests
from pluggd.errors import AlreadyExists, PluggdError
from pluggd.services.metadata import Metadata

STOP = 5.0
"""Seconds that a stop takes at most to write down what is young."""


class Settler:
    """Settles what a call needs settled, what lies idle, and all of it at the end."""

    def __init__(
        self,
        metadata: Metadata,
        catalog: Catalog,
        ingests: Ingests,
        young: YoungIngests,
        locks: RefLocks,
        log: logging.LoggerAdapter[logging.Logger],
    ) -> None:
        self._metadata = metadata
        self._catalog = catalog
        self._ingests = ingests
        self._young = young
        self._locks = locks
        self._log = log
        self._unasked: dict[tuple[str, str], trio.Event] = {}

    def is_at_work(self, namespace: str, ref: str) -> bool:
        """Whether something is done to an ingest unasked."""
        return (namespace, ref) in self._unasked

    async def undisturbed(self, namespace: str, ref: str) -> None:
        """Wait for what is done to an ingest unasked: no caller did anything that could
        make its ref unavailable."""
        done = self._unasked.get((namespace, ref))
        if done is not None:
            await done.wait()

    async def young_for(self, write: Write) -> Young | None:
        """The ingest that this goes to, if it is in memory and can stay there, or can
        begin there; the caller holds the lock of the ref. Raises AlreadyExists."""
        ready = self._young.ready(write)
        young = self._young.get(write.namespace, write.ref)
        if ready is not None or young is None:
            return ready
        settled = await self.settle(write.namespace, write.ref)
        if not settled and write.wanted.expected in ("", young.expected):
            raise AlreadyExists(f"blob with expected digest {young.expected} exists")
        return None

    async def settle(self, namespace: str, ref: str) -> bool:
        """Make an ordinary ingest of the young one, if there is one.

        False: it is gone instead, since the namespace has the blob by now. The caller
        holds the lock of the ref.
        """
        young = self._young.get(namespace, ref)
        if young is None:
            return True
        record = await self._metadata.update(
            lambda txn: self._catalog.begin(
                txn,
                namespace,
                ref,
                total=young.total,
                expected=young.expected,
                adopt=False,
                started_at=young.started_at,
            )
        )
        if record is not None and young.data:
            async with self._ingests.opened(record) as file:
                await self._ingests.append(file, 0, young.data)
        self._young.discard(namespace, ref)
        return record is not None

    async def settle_idle(self) -> None:
        """For ever: those that nobody writes to."""
        while True:
            await trio.sleep(MAX_AGE)
            await self._settle_older(MAX_AGE)

    async def settle_all(self) -> None:
        with trio.move_on_after(STOP, shield=True):
            await self._settle_older(0)

    async def _settle_older(self, age: float) -> None:
        for namespace, ref in self._young.idle(age):
            if self._locks.is_held((namespace, ref)):
                continue
            name = self._ingests.name(namespace, ref)
            done = self._unasked[namespace, ref] = trio.Event()
            try:
                with self._locks.holding((namespace, ref), name):
                    await self.settle(namespace, ref)
            except PluggdError as error:
                self._log.warning("ingest %s stays in memory: %s", name, error)
            finally:
                del self._unasked[namespace, ref]
                done.set()
