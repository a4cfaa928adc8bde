# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Namespaces: a name for everything that belongs together, and labels on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pluggd.model.record import Record
from pluggd.services.kind import Kind
from pluggd.services.rpc import rpc


class Namespace(Record, frozen=True):
    """A namespace. Also made implicitly, by the first record that is put into it."""

    name: str = ""
    labels: dict[str, str] = {}


class NamespaceList(Record, frozen=True):
    """A page of namespaces. `next`: the `after` of the next page, "" on the last."""

    namespaces: list[Namespace] = []
    next: str = ""


class Namespaces(Protocol):
    """None of these methods needs a namespace in the call."""

    @rpc(result="namespace", namespaced=False)
    async def create(self, *, namespace: Namespace) -> Namespace:
        """Create a namespace.

        Raises InvalidArgument (name, labels), AlreadyExists.
        """
        ...

    @rpc(result="namespace", namespaced=False)
    async def get(self, *, name: str) -> Namespace:
        """Get a namespace. One that does not exist is NotFound."""
        ...

    @rpc(namespaced=False)
    async def list(
        self, *, filters: Sequence[str] = (), limit: int = 0, after: str = ""
    ) -> NamespaceList:
        """List in byte order of the name. Filters: `name`, `labels.<key>`.

        limit 0: all. Raises InvalidArgument for a bad filter or limit.
        """
        ...

    @rpc(result="namespace", namespaced=False)
    async def update(
        self, *, namespace: Namespace, fields: Sequence[str] = ()
    ) -> Namespace:
        """Replace the labels, or those named as `labels.<key>`.

        Raises NotFound, InvalidArgument.
        """
        ...

    @rpc(namespaced=False)
    async def delete(self, *, name: str) -> None:
        """Delete an empty namespace; its leases and unfinished ingests go with it.

        Raises NotFound, FailedPrecondition (with what it still holds).
        """
        ...


NAMESPACES = Kind("pluggd.namespaces.v1", Namespaces)
