# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Why an object is there."""

from __future__ import annotations

import pytest

from pluggd.errors import PluggdError
from pluggd.services.metadata import (
    FOREVER,
    Edge,
    Metadata,
    ResourceType,
)
from pluggd.testing.conformance.base import Conformance
from pluggd.testing.conformance.metadata.graph import (
    blob,
    image,
    prepare,
    snapshot,
    state,
)


class Explaining(Conformance):
    """Why an object is there."""

    async def test_an_explanation_is_the_path_from_a_root(
        self, metadata: Metadata
    ) -> None:
        await prepare(metadata)
        await state(metadata, image("i"), [blob("manifest")], FOREVER)
        await state(metadata, blob("manifest"), [blob("layer")])
        await state(metadata, blob("layer"))
        await state(metadata, snapshot("s"), [Edge(blob("layer"), back=True)])
        found = await metadata.explain(snapshot("s"))
        assert found.exists
        assert [(one.type, one.name, one.how) for one in found.path] == [
            ("image", "i", "root"),
            ("content", "manifest", "reference"),
            ("content", "layer", "reference"),
            ("snapshot/native", "s", "back reference"),
        ]
        root = await metadata.explain(image("i"))
        assert [(one.name, one.how) for one in root.path] == [("i", "root")]

    async def test_an_explanation_of_garbage_is_empty(self, metadata: Metadata) -> None:
        await prepare(metadata)
        await state(metadata, blob("a"), [blob("dead")])
        found = await metadata.explain(blob("a"))
        assert (found.exists, found.path) == (True, [])
        for name in ("dead", "never heard of"):
            assert not (await metadata.explain(blob(name))).exists

    async def test_registered_types_are_listed_in_their_order(
        self, metadata: Metadata
    ) -> None:
        await prepare(metadata)
        types = [resource.type for resource in metadata.resources()]
        expected = ["content", "image", "lease", "ingest", "snapshot/", "container"]
        assert types == expected
        with pytest.raises(PluggdError):
            metadata.register(ResourceType("content", "again", None))
