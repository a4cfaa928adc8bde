# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The rules of `pluggd.leases.v1`."""

from __future__ import annotations

import re
import time
from datetime import datetime

import pytest

from pluggd.errors import AlreadyExists, InvalidArgument, NotFound
from pluggd.services import call
from pluggd.services.leases import Lease, Leases, Resource
from pluggd.testing.conformance.base import Conformance, missing

DIGEST = "sha256:" + "a" * 64


EXPIRE = "containerd.io/gc.expire"


class LeasesConformance(Conformance):
    """What every provider of `pluggd.leases.v1` promises, in process or over a socket.

    Provide the fixture `leases`.
    """

    @pytest.fixture
    def leases(self) -> Leases:
        """The provider, empty. Yours to override."""
        missing(type(self), "leases")

    async def test_a_created_lease_is_got_as_it_was_given(self, leases: Leases) -> None:
        with call.using(namespace="ns"):
            created = await leases.create(id="a b/c", labels={"k": "v", "empty": ""})
            assert created == Lease(
                id="a b/c", created_at=created.created_at, labels={"k": "v"}
            )
            assert created.created_at > 0
            assert await leases.get(id="a b/c") == created

    async def test_a_lease_without_an_id_gets_one(self, leases: Leases) -> None:
        with call.using(namespace="ns"):
            made = [await leases.create() for _ in range(20)]
            assert len({lease.id for lease in made}) == 20
            assert all(re.fullmatch(r"\d+-[\w-]{4}", lease.id) for lease in made)

    async def test_an_id_is_taken_once_in_a_namespace(self, leases: Leases) -> None:
        with call.using(namespace="ns"):
            await leases.create(id="l1")
            with pytest.raises(AlreadyExists, match=r'^lease "l1": already exists$'):
                await leases.create(id="l1")
        with call.using(namespace="other"):
            await leases.create(id="l1")

    async def test_expires_in_becomes_a_label(self, leases: Leases) -> None:
        with call.using(namespace="ns"):
            lease = await leases.create(expires_in=86400.5)
            when = datetime.fromisoformat(lease.labels[EXPIRE]).timestamp()
            assert abs(when - lease.created_at / 1e9 - 86400.5) < 1e-3
            assert abs(when - time.time() - 86400.5) < 60
            assert (await leases.create()).labels == {}

    async def test_a_bad_expiry_is_refused(self, leases: Leases) -> None:
        with call.using(namespace="ns"):
            for seconds in (-1.0, float("nan"), float("inf"), 1e12):
                with pytest.raises(InvalidArgument, match=r"^expires_in "):
                    await leases.create(expires_in=seconds)
            with pytest.raises(InvalidArgument, match=r"give one of them"):
                await leases.create(
                    labels={EXPIRE: "2030-01-01T00:00:00Z"}, expires_in=1
                )
            assert (await leases.list()).leases == []

    async def test_a_listing_is_in_byte_order_filtered_and_paged(
        self, leases: Leases
    ) -> None:
        with call.using(namespace="ns"):
            for name in ("b", "B", "a"):
                await leases.create(id=name, labels={"is": name})

            async def found(*filters: str) -> list[str]:
                return [one.id for one in (await leases.list(filters=filters)).leases]

            assert await found() == ["B", "a", "b"]
            assert await found("id==a", "labels.is==b") == ["a", "b"]
            assert await found("labels.nosuch") == []
            page = await leases.list(limit=2)
            assert ([one.id for one in page.leases], page.next) == (["B", "a"], "a")
            assert [one.id for one in (await leases.list(after="a")).leases] == ["b"]
            with pytest.raises(InvalidArgument):
                await leases.list(limit=-1)

    async def test_resources_are_held_once_and_listed_by_type_and_id(
        self, leases: Leases
    ) -> None:
        resources = [
            Resource(id="x", type="snapshots/native"),
            Resource(id="r2", type="ingests"),
            Resource(id="x", type="snapshots/blocks"),
            Resource(id=DIGEST, type="content"),
            Resource(id="i", type="images"),
            Resource(id="r1", type="ingests"),
        ]
        with call.using(namespace="ns"):
            await leases.create(id="l")
            for resource in [*resources, *resources]:
                await leases.add_resource(id="l", resource=resource)
            listed = (await leases.list_resources(id="l")).resources
            assert listed == sorted(resources, key=lambda one: (one.type, one.id))
            await leases.delete_resource(id="l", resource=resources[0])
            await leases.delete_resource(id="l", resource=resources[0])
            listed.remove(resources[0])
            assert (await leases.list_resources(id="l")).resources == listed

    async def test_a_lease_must_be_there(self, leases: Leases) -> None:
        resource = Resource(id="r", type="ingests")
        with call.using(namespace="ns"):
            for attempt in (
                leases.get(id="zz"),
                leases.delete(id="zz"),
                leases.add_resource(id="zz", resource=resource),
                leases.delete_resource(id="zz", resource=resource),
                leases.list_resources(id="zz"),
            ):
                with pytest.raises(NotFound, match=r'^lease "zz": not found$'):
                    await attempt

    async def test_a_deleted_lease_lets_go(self, leases: Leases) -> None:
        with call.using(namespace="ns"):
            await leases.create(id="l")
            await leases.add_resource(id="l", resource=Resource(id="r", type="ingests"))
            await leases.delete(id="l")
            await leases.create(id="l")
            assert (await leases.list_resources(id="l")).resources == []
