# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The contracts of the kinds hold through a proxy: what another process provides cannot
be told from what this one does."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Any

import pytest
import trio

from pluggd.services.containers import CONTAINERS
from pluggd.services.events import EVENTS
from pluggd.services.images import IMAGES
from pluggd.services.leases import LEASES
from pluggd.services.metadata import METADATA
from pluggd.services.namespaces import NAMESPACES
from pluggd.testing import memory_metadata, started
from plugins.events.config import Config as EventsConfig
from plugins.events.registration import pluggd_register as events
from tests.contract import (
    containers_suite,
    events_suite,
    images_suite,
    leases_suite,
    namespaces_suite,
)
from tests.contract.events_suite import EventsStand
from tests.contract.stand import Stand, stand
from tests.proxy.proxied import proxied

Promise = Callable[[Any], Awaitable[None]]


@pytest.fixture
async def stores() -> AsyncGenerator[Stand]:
    with trio.fail_after(30):
        async with memory_metadata() as metadata, stand(metadata) as made:
            yield made


def promises(suite: Sequence[Callable[..., Awaitable[None]]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("promise", suite, ids=lambda one: one.__name__)


@promises(images_suite.SUITE)
async def test_images(promise: Promise, stores: Stand) -> None:
    async with proxied(IMAGES, stores.images) as images:
        await promise(images)


IN_PROCESS = (namespaces_suite.a_name_is_an_identifier,)
"""Text that is no Unicode never gets as far: the wire refuses it with words of its own."""


@promises([one for one in namespaces_suite.SUITE if one not in IN_PROCESS])
async def test_namespaces(promise: Promise, stores: Stand) -> None:
    async with proxied(NAMESPACES, stores.namespaces) as namespaces:
        await promise(namespaces)


@promises(leases_suite.SUITE)
async def test_leases(promise: Promise, stores: Stand) -> None:
    async with proxied(LEASES, stores.leases) as leases:
        await promise(leases)


@promises(containers_suite.SUITE)
async def test_containers(promise: Promise, stores: Stand) -> None:
    async with proxied(CONTAINERS, stores.containers) as containers:
        await promise(containers)


@promises(events_suite.SUITE)
async def test_events(promise: Promise) -> None:
    with trio.fail_after(30):
        async with (
            memory_metadata() as metadata,
            started(events(), {METADATA: metadata}, EventsConfig()) as (service, _),
            proxied(EVENTS, service) as proxy,
        ):
            await promise(EventsStand(proxy, metadata))
