# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""`gc.v1` for callers: ask for a collection, ask what it would do and why not more."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from pluggd.errors import InvalidArgument
from pluggd.plugin import inline
from pluggd.services import call
from pluggd.services.gc import GcStatus, Plan
from pluggd.services.metadata import (
    CollectStats,
    Explanation,
    Metadata,
    Node,
    ResourceType,
)


class Runner(Protocol):
    """A policy at work."""

    async def collect(self, *, full: bool = False) -> CollectStats:
        """Ask for a whole collection and wait for one that began after this call."""
        ...

    def request(self, *, full: bool = False) -> None:
        """Ask for a collection without waiting for it."""
        ...

    def status(self) -> GcStatus: ...


class GcService:
    """The `Gc` over a policy."""

    def __init__(self, metadata: Metadata, runner: Runner) -> None:
        self._metadata = metadata
        self._runner = runner

    async def run(
        self, *, wait: bool = False, full: bool = False
    ) -> CollectStats | None:
        if wait:
            return await self._runner.collect(full=full)
        self._runner.request(full=full)
        return None

    @inline
    def status(self) -> GcStatus:
        return self._runner.status()

    async def plan(self) -> Plan:
        return Plan(objects=await self._metadata.plan())

    async def explain(self, *, name: str, type: str = "content") -> Explanation:
        if not name:
            raise InvalidArgument(
                "name of the object to explain must not be empty: invalid argument"
            )
        validate_type(type, self._metadata.resources())
        return await self._metadata.explain(Node(type, call.namespace(), name))


def validate_type(type_: str, resources: Iterable[ResourceType]) -> None:
    """Raises InvalidArgument naming the types that there are."""
    known: list[str] = []
    for resource in resources:
        family = resource.type.endswith("/")
        if family and type_.startswith(resource.type) and type_ != resource.type:
            return
        if not family and type_ == resource.type:
            return
        known.append(f"{resource.type}<name>" if family else resource.type)
    raise InvalidArgument(
        f'unknown object type "{type_}": must be one of '
        f"{', '.join(sorted(known)) or 'none'}: invalid argument"
    )
