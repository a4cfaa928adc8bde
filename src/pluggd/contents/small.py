# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Writes that need no file: answered on the spot, or by the commit of their record.

Most writes are of configs and manifests, and for each of them a task would cost as much as
the rest. What is not plain (another writer, a lease's ingest, bytes that others have, a
blob that gets a file) is left to `Writer`, which waits.
"""

from __future__ import annotations

from functools import partial

from pluggd.contents.catalog import Catalog
from pluggd.contents.ingests import Ingests
from pluggd.contents.locks import RefLocks
from pluggd.contents.placing import already_exists
from pluggd.contents.rules import (
    Write,
    algorithm_of,
    check_result,
    check_size,
    committed,
    digest_of,
)
from pluggd.contents.settling import Settler
from pluggd.contents.young import Young, YoungIngests, is_new
from pluggd.deferred import Deferred
from pluggd.services.content import Info, WriteResult
from pluggd.services.metadata import Metadata


class SmallWriter:
    """Begins writes. max_inline: bytes of a blob that has no file, at most."""

    def __init__(
        self,
        metadata: Metadata,
        catalog: Catalog,
        ingests: Ingests,
        young: YoungIngests,
        settler: Settler,
        locks: RefLocks,
        *,
        max_inline: int,
    ) -> None:
        self._metadata = metadata
        self._catalog = catalog
        self._ingests = ingests
        self._young = young
        self._settler = settler
        self._locks = locks
        self._max_inline = max_inline

    def write(self, write: Write) -> Deferred[WriteResult] | None:
        """None, and nothing is changed, for what has to wait for more than a commit.

        Raises as the service's `write`.
        """
        key = write.namespace, write.ref
        if self._settler.is_at_work(*key):
            return None
        self._locks.take(key, self._ingests.name(*key))
        outcome: Deferred[WriteResult] | None = None
        try:
            outcome = self._begin(write)
        finally:
            # A commit that was begun lets go of it when it is over.
            if outcome is None or write.action != "commit":
                self._locks.release(key)
        return outcome

    def _begin(self, write: Write) -> Deferred[WriteResult] | None:
        """With the lock."""
        commits = write.action == "commit"
        if commits and self._young.get(write.namespace, write.ref) is None:
            return None if write.offset else self._commit(write)
        young = self._young.ready(write)
        if young is None or (commits and write.end > self._max_inline):
            return None
        if write.action != "stat":
            young.append(write.offset, write.data)
        if commits:
            return self._commit_young(young, write)
        outcome = Deferred[WriteResult]()
        outcome.succeed(young.result(write.action))
        return outcome

    def _commit(self, write: Write) -> Deferred[WriteResult] | None:
        """Of a blob that is here in one piece."""
        data, wanted = write.data, write.wanted
        if len(data) > self._max_inline or wanted.total not in (0, len(data)):
            return None
        digest = digest_of(algorithm_of(wanted.expected), data)
        if wanted.expected not in ("", digest):
            return None
        if not self._metadata.read(
            lambda view: is_new(view, write.namespace, write.ref, digest)
        ):
            return None
        return self._record(write, digest, data)

    def _commit_young(self, young: Young, write: Write) -> Deferred[WriteResult]:
        check_size(young.record(), len(young.data), write.wanted.total)
        expected = write.wanted.expected or young.expected
        digest = digest_of(algorithm_of(expected), young.data)
        check_result(digest, expected)
        return self._record(write, digest, young.data, young.started_at)

    def _record(
        self, write: Write, digest: str, data: bytes, started_at: int = 0
    ) -> Deferred[WriteResult]:
        """data: all bytes of the blob. started_at: when its ingest did."""
        namespace, ref = write.namespace, write.ref
        commit = self._metadata.start_update(
            partial(
                self._catalog.commit,
                namespace=namespace,
                ref=ref,
                digest=digest,
                size=len(data),
                labels=write.wanted.labels,
                fresh=False,
                data=data,
            )
        )
        outcome = Deferred[WriteResult]()

        def over(commit: Deferred[Info | None]) -> None:
            self._locks.release((namespace, ref))
            try:
                info = commit.result()
            except BaseException as error:  # noqa: BLE001 - it is the caller's to handle
                outcome.fail(error)
                return
            self._young.discard(namespace, ref)
            if info is None:
                outcome.fail(already_exists(digest))
            else:
                outcome.succeed(committed(info, started_at))

        commit.then(over)
        return outcome
