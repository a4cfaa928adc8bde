# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tables, records, listings."""

from __future__ import annotations

from functools import partial

import pytest

from pluggd.errors import InvalidArgument
from pluggd.model.record import decode
from pluggd.services.metadata import (
    Metadata,
    Transaction,
    View,
)
from pluggd.services.namespaces import Namespace
from pluggd.testing.conformance.base import Conformance
from pluggd.testing.conformance.metadata.kit import TABLE, names_of, put


class Records(Conformance):
    """Tables, records, listings."""

    async def test_a_record_is_read_back_until_it_is_deleted(
        self, metadata: Metadata
    ) -> None:
        await metadata.open_table(TABLE)
        await metadata.update(lambda txn: txn.put(TABLE, "ns", "a", b"1"))
        assert await metadata.view(lambda view: view.get(TABLE, "ns", "a")) == b"1"
        assert metadata.read(lambda view: view.get(TABLE, "ns", "a")) == b"1"
        await metadata.update(lambda txn: txn.put(TABLE, "ns", "a", b"2"))
        assert metadata.read(lambda view: view.get(TABLE, "ns", "a")) == b"2"
        assert await metadata.update(lambda txn: txn.delete(TABLE, "ns", "a"))
        assert not await metadata.update(lambda txn: txn.delete(TABLE, "ns", "a"))
        assert metadata.read(lambda view: view.get(TABLE, "ns", "a")) is None

    async def test_one_record_is_got_without_a_view_and_joins_a_transaction(
        self, metadata: Metadata
    ) -> None:
        await put(metadata, "a")
        stored = metadata.read(lambda view: view.get(TABLE, "ns", "a"))
        assert metadata.get(TABLE, "ns", "a") == stored
        assert metadata.get(TABLE, "ns", "b") is None

        def change(txn: Transaction) -> bytes | None:
            txn.put(TABLE, "ns", "b", b"new")
            return metadata.get(TABLE, "ns", "b")

        assert await metadata.update(change) == b"new"

    async def test_a_record_belongs_to_its_table_and_namespace(
        self, metadata: Metadata
    ) -> None:
        await put(metadata, "a")
        await metadata.open_table("others")

        def look(view: View) -> list[bytes | None]:
            return [view.get("others", "ns", "a"), view.get(TABLE, "n", "sa")]

        assert metadata.read(look) == [None, None]

    async def test_an_empty_record_is_a_record(self, metadata: Metadata) -> None:
        await put(metadata)
        await metadata.update(lambda txn: txn.put(TABLE, "ns", "a", b""))
        assert metadata.read(lambda view: view.get(TABLE, "ns", "a")) == b""

    async def test_listings_are_in_byte_order_of_the_whole_name(
        self, metadata: Metadata
    ) -> None:
        run = "r" * 400
        names = ["b", "a", "a\0b", "ä", "\udc80", "𐀀", "\uffff", "a" * 300, "a" * 301]
        names += [run + tail for tail in ("z", "a", "m" * 5000, "", "\0", "mm")]
        await put(metadata, *names)
        listed = metadata.read(names_of)
        assert listed == sorted(names)
        records = metadata.read(lambda view: dict(view.scan(TABLE, "ns")))
        assert records == {
            name: name.encode("utf-8", "surrogatepass") for name in names
        }

    async def test_a_listing_goes_on_after_any_name(self, metadata: Metadata) -> None:
        names = sorted("r" * 350 + tail for tail in ("a", "b", "c", "d"))
        names = ["q", "r" * 300, *names, "s"]
        await put(metadata, *names)
        for after in [*names, "", "r", "r" * 301, "r" * 350 + "bb", "t"]:
            expected = [name for name in names if name > after]
            assert metadata.read(partial(names_of, after=after)) == expected

    async def test_the_namespaces_of_a_table_are_listed(
        self, metadata: Metadata
    ) -> None:
        for namespace in ("b", "a-b", "a", "a.b"):
            await put(metadata, "x", "y" * 1000, namespace=namespace)
        listed = metadata.read(lambda view: list(view.scan_namespaces(TABLE)))
        assert listed == ["a", "a-b", "a.b", "b"]

    async def test_a_namespace_comes_into_being_with_its_first_record(
        self,
        metadata: Metadata,
    ) -> None:
        await put(metadata, "a")
        await put(metadata, "a", namespace="")

        def look(view: View) -> list[tuple[str, bytes]]:
            return list(view.scan("namespaces", ""))

        found = metadata.read(look)
        assert [name for name, _ in found] == ["ns"]
        assert decode(found[0][1], Namespace) == Namespace(name="ns")
        await metadata.update(lambda txn: txn.put("namespaces", "", "ns", b"kept"))
        await put(metadata, "b")
        assert metadata.read(look) == [("ns", b"kept")]

    async def test_a_namespace_deleted_and_filled_in_one_transaction_is_there(
        self,
        metadata: Metadata,
    ) -> None:
        await put(metadata, "a")

        def change(txn: Transaction) -> None:
            txn.put(TABLE, "ns", "b", b"")
            txn.delete("namespaces", "", "ns")
            txn.put(TABLE, "ns", "c", b"")

        await metadata.update(change)
        assert metadata.read(lambda view: view.get("namespaces", "", "ns")) is not None

    async def test_a_sequence_never_repeats_a_number(self, metadata: Metadata) -> None:
        def take(txn: Transaction) -> int:
            return txn.sequence("ns", "snapshots")

        assert [await metadata.update(take) for _ in range(3)] == [1, 2, 3]
        assert (
            await metadata.update(lambda txn: txn.sequence("other", "snapshots")) == 1
        )
        assert await metadata.update(lambda txn: txn.sequence("ns", "s" * 600)) == 1

    async def test_a_table_of_the_store_itself_cannot_be_opened(
        self, metadata: Metadata
    ) -> None:
        for name in ("objects.nodes", ""):
            with pytest.raises(InvalidArgument):
                await metadata.open_table(name)

    async def test_a_table_is_opened_twice_without_harm(
        self, metadata: Metadata
    ) -> None:
        await put(metadata, "a")
        await metadata.open_table(TABLE)
        assert metadata.read(names_of) == ["a"]
