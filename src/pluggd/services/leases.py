# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Leases: what an operation in progress holds is not collected."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pluggd.model.record import Record
from pluggd.model.types import Time
from pluggd.services.kind import Kind
from pluggd.services.rpc import rpc


class Lease(Record, frozen=True):
    """A lease. Its labels may set an expiry (`containerd.io/gc.expire`, RFC 3339)
    and make it flat (`containerd.io/gc.flat`)."""

    id: str = ""
    created_at: Time = 0
    labels: dict[str, str] = {}


class LeaseList(Record, frozen=True):
    """A page of leases. `next`: the `after` of the next page, "" on the last."""

    leases: list[Lease] = []
    next: str = ""


class Resource(Record, frozen=True):
    """What a lease holds. type: `content`, `ingests`, `images`, `snapshots/<name>`."""

    id: str = ""
    type: str = ""


class ResourceList(Record, frozen=True):
    resources: list[Resource] = []


class Leases(Protocol):
    """Calls that name a lease in their metadata put what they make on it."""

    @rpc(result="lease")
    async def create(
        self, *, id: str = "", labels: dict[str, str] = {}, expires_in: float = 0
    ) -> Lease:
        """Create a lease; without an id, one is made up.

        expires_in: seconds from now, as a label; 0 for none.
        Raises AlreadyExists, InvalidArgument (labels).
        """
        ...

    @rpc(result="lease")
    async def get(self, *, id: str) -> Lease:
        """One lease. Raises NotFound."""
        ...

    @rpc()
    async def list(
        self, *, filters: Sequence[str] = (), limit: int = 0, after: str = ""
    ) -> LeaseList:
        """List leases. Filters: `id`, `labels.<key>`."""
        ...

    @rpc()
    async def delete(self, *, id: str, sync: bool = False) -> None:
        """Let go of what it holds. sync: as with images. Raises NotFound."""
        ...

    @rpc()
    async def add_resource(self, *, id: str, resource: Resource) -> None:
        """Hold something, which need not exist yet. Idempotent.

        Raises NotFound (lease), InvalidArgument, NotImplemented (resource type).
        """
        ...

    @rpc()
    async def delete_resource(self, *, id: str, resource: Resource) -> None:
        """Let go of one thing. Idempotent. Errors as in add_resource."""
        ...

    @rpc()
    async def list_resources(self, *, id: str) -> ResourceList:
        """What a lease holds, by type, then by id. Raises NotFound."""
        ...


LEASES = Kind("pluggd.leases.v1", Leases)
