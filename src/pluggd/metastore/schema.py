# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Which form the stored tables have, and how an older form becomes the present one.

The version is one number in a table of its own. Migration N makes version N + 1 out
of version N; all that are due run in one transaction together with the new number, so
a start that is killed has either migrated or not. A newer version is refused, because
a program that does not know a form can only harm it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pluggd.errors import DataLoss, FailedPrecondition
from pluggd.objects.kv import KV
from pluggd.objects.migrations import gather_graph

SCHEMA_TABLE = "schema"
_VERSION = b"version"

Migration = Callable[[KV], None]

MIGRATIONS: Sequence[Migration] = (gather_graph,)
"""In order; never edited after a release. Each has a test of its own."""

FIRST = 1


def apply_schema(
    kv: KV, *, fresh: bool, migrations: Sequence[Migration] = MIGRATIONS
) -> int:
    """Bring the tables to the present version, in the given transaction.

    fresh: the file holds nothing yet. Returns how many migrations ran. Raises
    FailedPrecondition for a file of a newer program or of another one.
    """
    present = FIRST + len(migrations)
    stored = kv.get(SCHEMA_TABLE, _VERSION)
    if stored is None:
        if not fresh:
            raise foreign()
        _write(kv, present)
        return 0
    version = _read(stored)
    if version > present:
        raise FailedPrecondition(
            f"metadata: the stored schema has version {version}, this program knows "
            f"up to {present}: use the newer program, or restore an older backup"
        )
    due = migrations[version - FIRST :]
    for migration in due:
        migration(kv)
    if due:
        _write(kv, present)
    return len(due)


def foreign(what: str = "") -> FailedPrecondition:
    """what: the file, as `the LMDB file`."""
    return FailedPrecondition(
        f"metadata: {what or 'the file'} belongs to another program (it has tables, but no "
        "schema version): choose another directory"
    )


def _read(stored: bytes) -> int:
    try:
        version = int(stored)
    except ValueError:
        version = 0
    if version < FIRST:
        raise DataLoss(f"metadata: the stored schema version is {stored!r}: damaged")
    return version


def _write(kv: KV, version: int) -> None:
    kv.put(SCHEMA_TABLE, _VERSION, str(version).encode())
