# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Bundled plugins for a test without a daemon, over whatever it gives them.

The record stores keep nothing of their own: over a metadata store in memory they are as
quick as a fake, and cannot differ from the real thing. They are found as the daemon finds
them, since nothing here may know a plugin.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, MutableMapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from pluggd.core.discovery import bundled_dir, bundled_sources, examine
from pluggd.errors import NotFound
from pluggd.plugin import Registration
from pluggd.services.kind import Kind
from pluggd.testing.one_plugin import started

T = TypeVar("T")


def bundled_registration(kind: Kind[T]) -> Registration[T, Any]:
    """The registration of the bundled plugin that provides a kind when nothing is
    selected, the first by id. Raises NotFound."""
    found = [
        one.registration
        for source in bundled_sources(bundled_dir())
        for one in examine(source)
        if one.registration is not None
        and one.registration.provides.name == kind.name
        and not one.registration.alternative
        and not one.registration.decorates
    ]
    if not found:
        raise NotFound(f"bundled plugin for {kind}: not found")
    return min(found, key=lambda one: one.id)


@asynccontextmanager
async def bundled(
    kind: Kind[T], kinds: MutableMapping[Kind[Any], Any], **options: Any
) -> AsyncGenerator[T]:
    """The bundled provider of a kind, while the block runs, and meanwhile in `kinds`.

    kinds: what it finds. options: of its configuration. For plugins that keep no files.
    Raises NotFound.
    """
    registration = bundled_registration(kind)
    config = registration.config(**options)
    async with started(registration, kinds, config) as (service, _):
        kinds[kind] = service
        try:
            yield service
        finally:
            del kinds[kind]
