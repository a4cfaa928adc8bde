# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What the rules of tables and transactions are tried with."""

from __future__ import annotations

from pluggd.services.metadata import (
    Metadata,
    Transaction,
    View,
)

TABLE = "things"


async def put(metadata: Metadata, *names: str, namespace: str = "ns") -> None:
    await metadata.open_table(TABLE)

    def change(txn: Transaction) -> None:
        for name in names:
            txn.put(TABLE, namespace, name, name.encode("utf-8", "surrogatepass"))

    await metadata.update(change)


def names_of(view: View, after: str = "") -> list[str]:
    return [name for name, _ in view.scan(TABLE, "ns", after=after)]


def emit(txn: Transaction, *topics: str) -> None:
    for topic in topics:
        txn.emit("ns", topic, "type", {"topic": topic})


class Stop(Exception):
    """What a function raises to have its transaction rolled back."""
