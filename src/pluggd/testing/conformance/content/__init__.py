# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The rules of `pluggd.content.v1`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

import pytest

from pluggd.services.call import using
from pluggd.services.content import Content
from pluggd.services.metadata import Metadata
from pluggd.testing.conformance.base import Conformance, missing
from pluggd.testing.conformance.content.blobs import Blobs
from pluggd.testing.conformance.content.concurrency import Concurrency
from pluggd.testing.conformance.content.descriptors import Descriptors
from pluggd.testing.conformance.content.ingests import Ingests
from pluggd.testing.conformance.content.keeping import Keeping
from pluggd.testing.conformance.content.kit import ContentStand
from pluggd.testing.conformance.content.listings import Listings
from pluggd.testing.conformance.content.reading import Reading
from pluggd.testing.conformance.content.sharing import Sharing
from pluggd.testing.conformance.content.streams import Streams

__all__ = ["ContentConformance", "ContentStand"]


class ContentConformance(
    Blobs,
    Ingests,
    Streams,
    Descriptors,
    Reading,
    Listings,
    Sharing,
    Keeping,
    Concurrency,
):
    """What every provider of `pluggd.content.v1` promises.

    Provide the fixture `content`: an empty store over the fixture `metadata`.
    """

    optional: ClassVar[Mapping[str, str]] = {
        **Conformance.optional,
        "descriptors": "blobs are read and written through file descriptors",
    }

    @pytest.fixture
    def content(self) -> Content:
        """The provider, empty. Yours to override."""
        missing(type(self), "content")

    @pytest.fixture
    def stand(self, content: Content, metadata: Metadata) -> ContentStand:
        return ContentStand(content, metadata)

    @pytest.fixture(autouse=True)
    def _in_namespace(self) -> Iterator[None]:
        with using(namespace="one"):
            yield
