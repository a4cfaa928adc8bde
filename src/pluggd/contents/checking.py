# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Every file of the store has a record, and every record its bytes.

What looks wrong is looked at again under the guard of its digest, or when the calls that
may be at work on it are over: a store in use has files without records and records
without files for as long as putting bytes in place and a commit take, and those are no findings.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from functools import partial
from itertools import islice

import trio

from pluggd.contents.blobs import Blobs
from pluggd.contents.catalog import Catalog, find_file
from pluggd.contents.cleaning import batched, ingest_files
from pluggd.contents.locks import DigestGuards, RefLocks
from pluggd.contents.records import (
    BLOBS,
    FILES,
    INGEST_TRASH,
    INGESTS,
    TRASH,
    FileRecord,
    IngestRecord,
)
from pluggd.contents.spool import Spool
from pluggd.model.record import decode
from pluggd.services.fsck import CheckResult, Finding, Problem
from pluggd.services.metadata import Metadata, View

_PAGE = 500
"""Records that are looked up between two checkpoints."""

_PATIENCE = 10.0
"""Seconds for which the calls at work on ingests are waited for."""

_STRAY = "remove it, or check with --repair"
_DIRECTORY = "remove it by hand; --repair leaves directories to whoever made them"
_AGAIN = (
    "send the blob again (pull or import it), which heals it; with --repair it is served "
    "to nobody until then"
)


class Checker:
    """The store's `pluggd.services.fsck.Check`."""

    def __init__(
        self,
        metadata: Metadata,
        spool: Spool,
        blobs: Blobs,
        catalog: Catalog,
        guards: DigestGuards,
        locks: RefLocks,
    ) -> None:
        self._metadata = metadata
        self._spool = spool
        self._blobs = blobs
        self._catalog = catalog
        self._guards = guards
        self._locks = locks

    async def __call__(self, *, deep: bool, repair: bool) -> CheckResult:
        findings = await self._strangers(repair)
        findings += await self._stray_blobs(repair)
        found, blobs = await self._recorded(deep, repair)
        findings += found
        findings += await self._orphans()
        found, ingests = await self._stray_ingests(repair)
        findings += found
        return CheckResult(
            findings=findings, checked={"blobs": blobs, "ingests": ingests}
        )

    # --- from the bytes to the records

    async def _strangers(self, repair: bool) -> list[Finding]:
        """What lies where only blobs and ingests belong, by its name alone."""
        found: list[Finding] = []
        for stranger in await self._blobs.strangers():
            repaired = repair and await self._blobs.remove_stranger(stranger.path)
            found.append(
                _finding(
                    "stray",
                    stranger.path,
                    meaning="neither a blob nor an ingest has such a name",
                    remedy=_remedy(directory=stranger.directory),
                    size=stranger.size,
                    repaired=repaired,
                )
            )
        return found

    async def _stray_blobs(self, repair: bool) -> list[Finding]:
        found: list[Finding] = []
        digests = sorted(await self._blobs.digests())
        for some in batched(digests, _PAGE):
            suspects = await self._metadata.view(partial(_strays, digests=some))
            for digest in suspects:
                finding = await self._stray_blob(digest, repair)
                if finding is not None:
                    found.append(finding)
        return found

    async def _stray_blob(self, digest: str, repair: bool) -> Finding | None:
        async with self._guards.holding([digest]):
            size = await self._blobs.size(digest)
            if size is None or not self._metadata.read(
                lambda view: _is_stray(view, digest)
            ):
                return None
            if repair:
                await self._blobs.remove([digest])
            return _finding(
                "stray",
                self._blobs.path(digest),
                digest,
                meaning="no namespace has this blob",
                remedy=_STRAY,
                size=size,
                repaired=repair,
            )

    async def _stray_ingests(self, repair: bool) -> tuple[list[Finding], int]:
        """Also how many ingests there are."""
        files = await trio.to_thread.run_sync(self._spool.list_ingests)
        known = await self._metadata.view(_known_ingests)
        suspects = [file for file in files if self._is_suspect(file, known)]
        found: list[Finding] = []
        if suspects and await self._settled():
            known = await self._metadata.view(_known_ingests)
            for file in suspects:
                path = self._spool.ingest_path(file)
                there = await trio.to_thread.run_sync(_look, path)
                if there is None or not self._is_suspect(file, known):
                    continue
                size, directory = there
                repaired = repair and await trio.to_thread.run_sync(_unlink, path)
                found.append(
                    _finding(
                        "stray",
                        path,
                        meaning="no ingest has this file",
                        remedy=_remedy(directory=directory),
                        size=size,
                        repaired=repaired,
                    )
                )
        return found, len(known)

    def _is_suspect(self, file: str, known: set[str]) -> bool:
        return file not in known and not self._spool.is_temporary(file)

    async def _settled(self) -> bool:
        """Whether every call that may be about to remove an ingest's file is over.

        Such a call holds the lock of its ref, and the record of the ingest is gone.
        """
        with trio.move_on_after(_PATIENCE):
            await self._locks.released(
                lambda key: self._metadata.read(
                    lambda view: view.get(INGESTS, *key) is None
                )
            )
            return True
        return False

    # --- from the records to the bytes

    async def _recorded(self, deep: bool, repair: bool) -> tuple[list[Finding], int]:
        """What is wrong with recorded blobs, and how many there are."""
        found: list[Finding] = []
        after, count = "", 0
        while page := await self._metadata.view(partial(_next_files, after=after)):
            after = page[-1][0]
            count += len(page)
            for digest, record, references in page:
                if references != record.references:
                    found.append(_miscounted(digest, record, references))
            for digest in await self._suspects(page, deep):
                finding = await self._wrong_blob(digest, deep, repair)
                if finding is not None:
                    found.append(finding)
        return found, count

    async def _suspects(
        self, page: list[tuple[str, FileRecord, int]], deep: bool
    ) -> list[str]:
        """Those that are not as recorded, at the first look."""
        sound = [
            (digest, record.size) for digest, record, _ in page if not record.damaged
        ]
        wrong = await self._blobs.problems(sound, deep=deep)
        return [
            digest for digest, record, _ in page if record.damaged or digest in wrong
        ]

    async def _wrong_blob(
        self, digest: str, deep: bool, repair: bool
    ) -> Finding | None:
        """The second look, while nobody puts this blob in place or removes it."""
        async with self._guards.holding([digest]):
            record = self._metadata.read(lambda view: find_file(view, digest))
            if record is None:
                return None
            deep = deep and not record.damaged
            problems = await self._blobs.problems([(digest, record.size)], deep=deep)
            found = problems.get(digest)
            if found is None and not record.damaged:
                return None
            problem, meaning = found or ("damaged", "its bytes were found to be wrong")
            if repair and not record.damaged:
                await self._metadata.update(
                    lambda txn: self._catalog.mark_damaged(txn, digest), reclaim=True
                )
            return _finding(
                problem,
                self._blobs.path(digest),
                digest,
                meaning=meaning,
                remedy=_AGAIN,
                repaired=repair and not record.damaged,
            )

    async def _orphans(self) -> list[Finding]:
        """Blobs of namespaces for which there is no file record."""
        found: list[Finding] = []
        namespaces = await self._metadata.view(
            lambda view: list(view.scan_namespaces(BLOBS))
        )
        for namespace in namespaces:
            after = ""
            while True:
                look = partial(_next_blobs, namespace=namespace, after=after)
                names = await self._metadata.view(look)
                if not names:
                    break
                after = names[-1][0]
                found += [
                    _finding(
                        "record",
                        "",
                        f"{namespace}/{digest}",
                        meaning="a namespace has this blob, and no file is recorded",
                        remedy="delete the blob, then send it again",
                    )
                    for digest, is_there in names
                    if not is_there
                ]
        return found


def _is_stray(view: View, digest: str) -> bool:
    return view.get(FILES, "", digest) is None and view.get(TRASH, "", digest) is None


def _strays(view: View, digests: Sequence[str]) -> list[str]:
    return [digest for digest in digests if _is_stray(view, digest)]


def _known_ingests(view: View) -> set[str]:
    """Files of ingests, and of those that are about to be removed."""
    trash = {
        name.removeprefix(INGEST_TRASH)
        for name, _ in view.scan(TRASH, "", after=INGEST_TRASH)
        if name.startswith(INGEST_TRASH)
    }
    return ingest_files(view) | trash


def _next_files(view: View, after: str) -> list[tuple[str, FileRecord, int]]:
    """The next file records, each with how many things refer to it in this view."""
    namespaces = list(view.scan_namespaces(BLOBS))
    shared: dict[str, int] = {}
    for namespace in view.scan_namespaces(INGESTS):
        for _, data in view.scan(INGESTS, namespace):
            ingest = decode(data, IngestRecord)
            if ingest.shared:
                shared[ingest.expected] = shared.get(ingest.expected, 0) + 1
    found: list[tuple[str, FileRecord, int]] = []
    for digest, data in islice(view.scan(FILES, "", after=after), _PAGE):
        references = shared.get(digest, 0) + sum(
            view.get(BLOBS, namespace, digest) is not None for namespace in namespaces
        )
        found.append((digest, decode(data, FileRecord), references))
    return found


def _next_blobs(view: View, namespace: str, after: str) -> list[tuple[str, bool]]:
    """The next blobs of a namespace, and whether there is a file record."""
    return [
        (digest, view.get(FILES, "", digest) is not None)
        for digest, _ in islice(view.scan(BLOBS, namespace, after=after), _PAGE)
    ]


def _miscounted(digest: str, record: FileRecord, references: int) -> Finding:
    return _finding(
        "record",
        "",
        digest,
        meaning=f"{record.references} references are recorded, there are {references}",
        remedy="this is a bug of pluggd: please report it with the log",
    )


def _finding(
    problem: Problem,
    path: str,
    object_: str = "",
    *,
    meaning: str,
    remedy: str,
    size: int = 0,
    repaired: bool = False,
) -> Finding:
    return Finding(
        store="content",
        problem=problem,
        path=path,
        object=object_,
        meaning=meaning,
        remedy=remedy,
        bytes=size,
        repaired=repaired,
    )


def _remedy(*, directory: bool) -> str:
    return _DIRECTORY if directory else _STRAY


def _look(path: str) -> tuple[int, bool] | None:
    """Its size, and whether it is a directory; None for what is not there."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return None
    return status.st_size, stat.S_ISDIR(status.st_mode)


def _unlink(path: str) -> bool:
    """Whether it is gone. A directory is left to its owner."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return True
    except (IsADirectoryError, PermissionError):
        return False
    return True
