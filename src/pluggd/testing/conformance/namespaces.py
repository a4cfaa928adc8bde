# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The rules of `pluggd.namespaces.v1`."""

from __future__ import annotations

import pytest

from pluggd.errors import AlreadyExists, InvalidArgument, NotFound
from pluggd.services.namespaces import Namespace, Namespaces
from pluggd.testing.conformance.base import IN_PROCESS, Conformance, missing, needs


class NamespacesConformance(Conformance):
    """What every provider of `pluggd.namespaces.v1` promises, in process or over a socket.

    Provide the fixture `namespaces`.
    """

    @pytest.fixture
    def namespaces(self) -> Namespaces:
        """The provider, empty. Yours to override."""
        missing(type(self), "namespaces")

    async def test_a_created_namespace_is_got_as_it_was_given(
        self, namespaces: Namespaces
    ) -> None:
        asked = Namespace(name="ns", labels={"k": "v", "empty": ""})
        created = await namespaces.create(namespace=asked)
        assert created == Namespace(name="ns", labels={"k": "v"})
        assert await namespaces.get(name="ns") == created

    async def test_a_name_is_taken_once(self, namespaces: Namespaces) -> None:
        await namespaces.create(namespace=Namespace(name="ns"))
        with pytest.raises(AlreadyExists, match=r'^namespace "ns": already exists$'):
            await namespaces.create(namespace=Namespace(name="ns"))

    async def test_a_name_is_an_identifier(self, namespaces: Namespaces) -> None:
        for name in ("", "bad ns!", "a" * 77, "a--b"):
            with pytest.raises(InvalidArgument, match=r"^identifier "):
                await namespaces.create(namespace=Namespace(name=name))
        assert (await namespaces.list()).namespaces == []

    @needs(IN_PROCESS)
    async def test_a_name_that_is_no_unicode_is_refused(
        self, namespaces: Namespaces
    ) -> None:
        with pytest.raises(InvalidArgument, match=r"^identifier "):
            await namespaces.create(namespace=Namespace(name="\udc80"))

    async def test_labels_are_updated_as_a_whole_or_by_key(
        self, namespaces: Namespaces
    ) -> None:
        await namespaces.create(
            namespace=Namespace(name="ns", labels={"a": "1", "b": "2"})
        )
        asked = Namespace(name="ns", labels={"a": "9", "c.d/e": "3"})

        async def updated(*fields: str) -> dict[str, str]:
            changed = await namespaces.update(namespace=asked, fields=fields)
            assert await namespaces.get(name="ns") == changed
            return changed.labels

        assert await updated("labels.a") == {"a": "9", "b": "2"}
        assert await updated("labels.b", "labels.c.d/e") == {"a": "9", "c.d/e": "3"}
        assert await updated() == {"a": "9", "c.d/e": "3"}
        asked = Namespace(name="ns", labels={"z": "1"})
        assert await updated("labels") == {"z": "1"}

    async def test_an_unknown_namespace_is_not_found(
        self, namespaces: Namespaces
    ) -> None:
        for attempt in (
            namespaces.get(name="zz"),
            namespaces.delete(name="zz"),
            namespaces.update(namespace=Namespace(name="zz", labels={"a": "1"})),
        ):
            with pytest.raises(NotFound, match=r'^namespace "zz": not found$'):
                await attempt
        assert (await namespaces.list()).namespaces == []

    async def test_a_listing_is_in_byte_order_filtered_and_paged(
        self,
        namespaces: Namespaces,
    ) -> None:
        for name in ("b", "B", "a"):
            await namespaces.create(namespace=Namespace(name=name, labels={"is": name}))

        async def found(*filters: str) -> list[str]:
            listed = await namespaces.list(filters=filters)
            return [one.name for one in listed.namespaces]

        assert await found() == ["B", "a", "b"]
        assert await found("name==a", "labels.is==b") == ["a", "b"]
        assert await found("labels.nosuch") == []
        page = await namespaces.list(limit=2)
        assert ([one.name for one in page.namespaces], page.next) == (["B", "a"], "a")
        rest = await namespaces.list(after="a")
        assert [one.name for one in rest.namespaces] == ["b"]
        with pytest.raises(InvalidArgument):
            await namespaces.list(limit=-1)

    async def test_a_deleted_namespace_is_gone(self, namespaces: Namespaces) -> None:
        await namespaces.create(namespace=Namespace(name="ns"))
        await namespaces.delete(name="ns")
        with pytest.raises(NotFound):
            await namespaces.get(name="ns")
        await namespaces.create(namespace=Namespace(name="ns"))
