# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The contracts of the kinds hold through a proxy: what another process provides cannot
be told from what this one does."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from pathlib import Path

import pytest

from pluggd.services.containers import CONTAINERS, Containers
from pluggd.services.content import CONTENT, Content
from pluggd.services.events import EVENTS, Events
from pluggd.services.images import IMAGES, Images
from pluggd.services.leases import LEASES, Leases
from pluggd.services.metadata import METADATA, Metadata
from pluggd.services.namespaces import NAMESPACES, Namespaces
from pluggd.testing import started
from pluggd.testing.conformance.containers import ContainersConformance
from pluggd.testing.conformance.content import ContentConformance
from pluggd.testing.conformance.events import EventsConformance
from pluggd.testing.conformance.images import ImagesConformance
from pluggd.testing.conformance.leases import LeasesConformance
from pluggd.testing.conformance.namespaces import NamespacesConformance
from plugins.events.config import Config as EventsConfig
from plugins.events.registration import pluggd_register as events_register
from tests.contract.stand import Stand, stand
from tests.plugins.content.content_setup import started_content
from tests.proxy.proxied import proxied

FAR: Mapping[str, str] = {
    "in_process": "it is behind a socket: a transaction is an object of this process, "
    "text that is no Unicode never gets as far, and cancelling returns before the other "
    "process has cleaned up"
}


@pytest.fixture
async def stores(metadata: Metadata) -> AsyncGenerator[Stand]:
    async with stand(metadata) as made:
        yield made


class TestImages(ImagesConformance):
    lacks = FAR

    @pytest.fixture
    async def images(self, stores: Stand) -> AsyncGenerator[Images]:
        async with proxied(IMAGES, stores.images) as proxy:
            yield proxy


class TestNamespaces(NamespacesConformance):
    lacks = FAR

    @pytest.fixture
    async def namespaces(self, stores: Stand) -> AsyncGenerator[Namespaces]:
        async with proxied(NAMESPACES, stores.namespaces) as proxy:
            yield proxy


class TestLeases(LeasesConformance):
    lacks = FAR

    @pytest.fixture
    async def leases(self, stores: Stand) -> AsyncGenerator[Leases]:
        async with proxied(LEASES, stores.leases) as proxy:
            yield proxy


class TestContainers(ContainersConformance):
    lacks = FAR

    @pytest.fixture
    async def containers(self, stores: Stand) -> AsyncGenerator[Containers]:
        async with proxied(CONTAINERS, stores.containers) as proxy:
            yield proxy


class TestEvents(EventsConformance):
    lacks = FAR

    @pytest.fixture
    async def events(self, metadata: Metadata) -> AsyncGenerator[Events]:
        kinds = {METADATA: metadata}
        async with (
            started(events_register(), kinds, EventsConfig()) as (service, _),
            proxied(EVENTS, service) as proxy,
        ):
            yield proxy


class TestContent(ContentConformance):
    lacks = FAR

    @pytest.fixture
    async def content(
        self, metadata: Metadata, tmp_path: Path
    ) -> AsyncGenerator[Content]:
        async with (
            started_content(tmp_path / "content", metadata) as content,
            proxied(CONTENT, content) as proxy,
        ):
            yield proxy
