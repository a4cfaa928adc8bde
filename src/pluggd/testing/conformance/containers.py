# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The rules of `pluggd.containers.v1`."""

from __future__ import annotations

import pytest

from pluggd.errors import AlreadyExists, InvalidArgument, NotFound
from pluggd.model.record import replace
from pluggd.model.types import Any
from pluggd.services import call
from pluggd.services.containers import Container, Containers, Runtime
from pluggd.testing.conformance.base import Conformance, missing

SPEC = Any(type_url="types.example/spec", value={"process": {"args": ["sh"]}})


ONE = Any(type_url="one", value=b"\x00\xff")


TWO = Any(type_url="two", value=[1, None])


def container(id: str = "c", **labels: str) -> Container:
    return Container(
        id=id,
        labels=labels,
        image="docker.io/x:1",
        runtime=Runtime(name="runc", options=Any(type_url="o", value={"a": 1})),
        spec=SPEC,
        snapshotter="native",
        snapshot_key="key",
        extensions={"one": ONE},
    )


class ContainersConformance(Conformance):
    """What every provider of `pluggd.containers.v1` promises, in process or over a socket.

    Provide the fixture `containers`.
    """

    @pytest.fixture
    def containers(self) -> Containers:
        """The provider, empty. Yours to override."""
        missing(type(self), "containers")

    async def test_a_created_container_is_got_as_it_was_given(
        self, containers: Containers
    ) -> None:
        with call.using(namespace="ns"):
            created = await containers.create(container=container(k="v", empty=""))
            assert created == replace(
                container(k="v"),
                created_at=created.created_at,
                updated_at=created.created_at,
            )
            assert created.created_at > 0
            assert await containers.get(id="c") == created

    async def test_an_id_is_taken_once_in_a_namespace(
        self, containers: Containers
    ) -> None:
        with call.using(namespace="ns"):
            await containers.create(container=container())
            with pytest.raises(AlreadyExists, match=r'^container "c": already exists$'):
                await containers.create(container=container())
        with call.using(namespace="other"):
            await containers.create(container=container())

    async def test_an_update_without_fields_replaces_what_can_change(
        self,
        containers: Containers,
    ) -> None:
        with call.using(namespace="ns"):
            created = await containers.create(container=container(x="1"))
            asked = Container(
                id="c",
                runtime=Runtime(name="runc"),
                spec=ONE,
                snapshotter="native",
                extensions={"two": TWO},
            )
            changed = await containers.update(container=asked)
            assert changed.updated_at > created.updated_at
            assert changed == replace(
                asked,
                runtime=created.runtime,
                created_at=created.created_at,
                updated_at=changed.updated_at,
            )
            assert await containers.get(id="c") == changed

    async def test_an_update_changes_only_what_is_named(
        self, containers: Containers
    ) -> None:
        with call.using(namespace="ns"):
            created = await containers.create(container=container(x="1", y="2"))
            asked = Container(
                id="c",
                labels={"x": "9"},
                image="other",
                spec=ONE,
                snapshot_key="k2",
                extensions={"two": TWO},
            )

            async def updated(*fields: str) -> Container:
                changed = await containers.update(container=asked, fields=fields)
                assert await containers.get(id="c") == changed
                return changed

            assert (await updated("labels.x")).labels == {"x": "9", "y": "2"}
            assert (await updated("labels.y")).labels == {"x": "9"}
            assert (await updated("image")).image == "other"
            assert (await updated("snapshot_key")).snapshot_key == "k2"
            changed = await updated("extensions.two", "extensions.nosuch")
            assert changed.extensions == {"one": ONE, "two": TWO}
            assert (await updated("extensions.one")).extensions == {"two": TWO}
            changed = await updated("spec")
            assert changed.spec == ONE
            assert changed.runtime == created.runtime
            asked = replace(asked, extensions={}, snapshot_key="")
            assert (await updated("extensions")).extensions == {}
            assert (await updated("snapshotkey")).snapshot_key == ""

    async def test_a_refused_update_changes_nothing(
        self, containers: Containers
    ) -> None:
        with call.using(namespace="ns"):
            created = await containers.create(container=container(x="1"))
            other = replace(container(x="2"), runtime=Runtime(name="other"))
            for fields in (
                [],
                ["labels", "runtime"],
                ["labels", "id"],
                ["snapshotter"],
            ):
                with pytest.raises(InvalidArgument):
                    await containers.update(container=other, fields=fields)
            with pytest.raises(InvalidArgument):
                await containers.update(
                    container=Container(id="c"), fields=["labels", "spec"]
                )
            assert await containers.get(id="c") == created

    async def test_a_listing_is_in_byte_order_filtered_and_paged(
        self,
        containers: Containers,
    ) -> None:
        with call.using(namespace="ns"):
            for name in ("b", "B", "a"):
                await containers.create(container=container(name, **{"is": name}))
            await containers.create(
                container=Container(id="z", spec=SPEC, runtime=Runtime(name="crun"))
            )

            async def found(*filters: str) -> list[str]:
                listed = await containers.list(filters=filters)
                return [one.id for one in listed.containers]

            assert await found() == ["B", "a", "b", "z"]
            assert await found("id==a", "labels.is==b") == ["a", "b"]
            assert await found("runtime.name==crun") == ["z"]
            assert await found("image") == ["B", "a", "b"]
            assert await found("snapshotter==native") == []
            page = await containers.list(limit=2)
            assert ([one.id for one in page.containers], page.next) == (["B", "a"], "a")
            assert [
                one.id for one in (await containers.list(after="b")).containers
            ] == ["z"]
            with pytest.raises(InvalidArgument):
                await containers.list(limit=-1)

    async def test_a_deleted_container_is_gone(self, containers: Containers) -> None:
        with call.using(namespace="ns"):
            await containers.create(container=container())
            await containers.delete(id="c")
            for attempt in (
                containers.get(id="c"),
                containers.delete(id="c"),
                containers.update(container=container()),
            ):
                with pytest.raises(NotFound) as caught:
                    await attempt
                expected = 'container "c" in namespace "ns": not found'
                assert str(caught.value) == expected
