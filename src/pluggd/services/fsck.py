# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The check of what is stored: not a byte that no record explains, and no record
without its bytes.

A store takes part by giving its `Check` to the metadata store with its type of object
(`ResourceType.check`). The service runs them all and knows nothing of files.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from pluggd.model.record import Record
from pluggd.services.kind import Kind
from pluggd.services.rpc import rpc

Problem = Literal["stray", "missing", "size", "digest", "damaged", "record"]


class Finding(Record, frozen=True):
    """One thing that is not as it should be.

    store: whose (`content`, `snapshots/native`). problem: `stray` (on the disk and in no
    record), `missing` (in a record and not on the disk), `size`, `digest` (not as
    recorded), `damaged` (known to be bad, and served to nobody), `record` (records that
    contradict each other). path, object: where, and of what. meaning and remedy: for the
    operator. bytes: what it takes on the disk. repaired: it is put right.
    """

    store: str
    problem: Problem
    path: str = ""
    object: str = ""
    meaning: str = ""
    remedy: str = ""
    bytes: int = 0
    repaired: bool = False


class CheckResult(Record, frozen=True):
    """What one store found. checked: how many of what were looked at."""

    findings: list[Finding] = []
    checked: dict[str, int] = {}


class Check(Protocol):
    """A store's check of itself, while it is in use.

    What is in the middle of being written or removed is not a finding: what looks wrong
    is looked at again when no operation that began before is under way any more.
    deep: read all bytes and compare digests. repair: remove what is stray, and
    mark what is damaged so that it is served to nobody and healed when it comes again.
    """

    async def __call__(self, *, deep: bool, repair: bool) -> CheckResult: ...


class FsckReport(Record, frozen=True):
    """findings: of all stores, the first 1000. total: how many there are. checked: how
    many of what were looked at (`{"blobs": 3}`). failed: stores whose check did not come
    to its end, and why. elapsed in ns."""

    findings: list[Finding] = []
    total: int = 0
    checked: dict[str, int] = {}
    failed: dict[str, str] = {}
    deep: bool = False
    elapsed: int = 0


class Fsck(Protocol):
    """Compares disk and records, of all namespaces, without stopping anybody."""

    @rpc(namespaced=False)
    async def check(
        self, *, deep: bool = False, repair: bool = False, stores: Sequence[str] = ()
    ) -> FsckReport:
        """Check all stores, or those named (`content`, `snapshot`).

        deep: also compare every blob with its digest, and committed snapshots with
        what was committed; reads everything. repair: remove stray files, and mark
        damaged blobs. Raises InvalidArgument (a store that there is not).
        """
        ...


FSCK = Kind("pluggd.fsck.v1", Fsck)
