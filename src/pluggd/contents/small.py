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
    Action,
    Wanted,
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

    def write(
        self,
        namespace: str,
        ref: str,
        action: Action,
        offset: int,
        data: bytes,
        wanted: Wanted,
    ) -> Deferred[WriteResult] | None:
        """None, and nothing is changed, for what has to wait for more than a commit.

        Raises as the service's `write`.
        """
        if self._settler.is_at_work(namespace, ref):
            return None
        key = namespace, ref
        self._locks.take(key, self._ingests.name(namespace, ref))
        outcome: Deferred[WriteResult] | None = None
        try:
            outcome = self._begin(namespace, ref, action, offset, data, wanted)
        finally:
            # A commit that was begun lets go of it when it is over.
            if outcome is None or action != "commit":
                self._locks.release(key)
        return outcome

    def _begin(
        self,
        namespace: str,
        ref: str,
        action: Action,
        offset: int,
        data: bytes,
        wanted: Wanted,
    ) -> Deferred[WriteResult] | None:
        """With the lock."""
        if action == "commit" and self._young.get(namespace, ref) is None:
            return None if offset else self._commit(namespace, ref, data, wanted)
        young = self._young.ready(
            namespace,
            ref,
            offset=offset,
            size=len(data),
            total=wanted.total,
            expected=wanted.expected,
            announced=action != "commit",
        )
        if young is None:
            return None
        if action == "commit" and offset + len(data) > self._max_inline:
            return None
        if action != "stat":
            young.append(offset, data)
        if action == "commit":
            return self._commit_young(namespace, young, wanted)
        outcome = Deferred[WriteResult]()
        outcome.succeed(young.result(action))
        return outcome

    def _commit(
        self, namespace: str, ref: str, data: bytes, wanted: Wanted
    ) -> Deferred[WriteResult] | None:
        """Of a blob that is here in one piece."""
        if len(data) > self._max_inline or wanted.total not in (0, len(data)):
            return None
        digest = digest_of(algorithm_of(wanted.expected), data)
        if wanted.expected not in ("", digest):
            return None
        if not self._metadata.read(lambda view: is_new(view, namespace, ref, digest)):
            return None
        return self._record(namespace, ref, digest, data, wanted, 0)

    def _commit_young(
        self, namespace: str, young: Young, wanted: Wanted
    ) -> Deferred[WriteResult]:
        data = young.data
        check_size(young.record(), len(data), wanted.total)
        expected = wanted.expected or young.expected
        digest = digest_of(algorithm_of(expected), data)
        check_result(digest, expected)
        return self._record(
            namespace, young.ref, digest, data, wanted, young.started_at
        )

    def _record(
        self,
        namespace: str,
        ref: str,
        digest: str,
        data: bytes,
        wanted: Wanted,
        started_at: int,
    ) -> Deferred[WriteResult]:
        commit = self._metadata.start_update(
            partial(
                self._catalog.commit,
                namespace=namespace,
                ref=ref,
                digest=digest,
                size=len(data),
                labels=wanted.labels,
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
