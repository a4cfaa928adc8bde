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
from pathlib import Path

from pluggd.errors import DataLoss, FailedPrecondition
from pluggd.objects.kv import KV
from pluggd.objects.migrations import gather_graph, hold_small_blobs

SCHEMA_TABLE = "schema"
_VERSION = b"version"

Migration = Callable[[KV], None]

MIGRATIONS: Sequence[Migration] = (gather_graph, hold_small_blobs)
"""In order; never edited after a release. Each has a test of its own."""

FIRST = 1


def apply_schema(
    kv: KV, file: Path, *, fresh: bool, migrations: Sequence[Migration] = MIGRATIONS
) -> int:
    """Bring the tables to the present version, in the given transaction.

    file: where they are, for a refusal. fresh: it holds nothing yet. Returns how many
    migrations ran. Raises FailedPrecondition for a file of a newer program or of
    another one.
    """
    present = FIRST + len(migrations)
    stored = kv.get(SCHEMA_TABLE, _VERSION)
    if stored is None:
        if not fresh:
            raise foreign(file)
        _write(kv, present)
        return 0
    version = _read(stored, file)
    if version > present:
        raise FailedPrecondition(
            f"metadata: the schema in {file} has version {version}, this program knows "
            f"up to {present}: use the newer program, or restore an older backup"
        )
    due = migrations[version - FIRST :]
    for migration in due:
        migration(kv)
    if due:
        _write(kv, present)
    return len(due)


def migrated(count: int, migrations: Sequence[Migration] = MIGRATIONS) -> str:
    """What the log says after so many migrations."""
    present = FIRST + len(migrations)
    return f"migrated the metadata from schema version {present - count} to {present}"


def foreign(file: Path) -> FailedPrecondition:
    return FailedPrecondition(
        f"metadata: {file} belongs to another program (it has tables, but no "
        "schema version): choose another directory"
    )


def _read(stored: bytes, file: Path) -> int:
    try:
        version = int(stored)
    except ValueError:
        version = 0
    if version < FIRST:
        raise DataLoss(
            f"metadata: the schema version in {file} is {stored!r}, which is no number "
            f"from {FIRST}: restore a backup"
        )
    return version


def _write(kv: KV, version: int) -> None:
    kv.put(SCHEMA_TABLE, _VERSION, str(version).encode())
