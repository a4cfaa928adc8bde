# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""A plugin at a path, started over what is given, for `pluggd plugin check`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from pluggd.core.config import check, settings_of
from pluggd.core.config_files import ConfigError, load
from pluggd.core.discovery import directory_sources, examine
from pluggd.core.failure import failure_of
from pluggd.errors import FailedPrecondition, NotFound
from pluggd.model.record import Record
from pluggd.plugin import Registration
from pluggd.services.containers import CONTAINERS
from pluggd.services.content import CONTENT
from pluggd.services.diff import DIFF
from pluggd.services.events import EVENTS
from pluggd.services.gc import GC
from pluggd.services.images import IMAGES
from pluggd.services.kind import Kind
from pluggd.services.leases import LEASES
from pluggd.services.metadata import METADATA, Metadata
from pluggd.services.namespaces import NAMESPACES
from pluggd.services.snapshots import SNAPSHOTS, SNAPSHOTTER
from pluggd.testing.bundled import bundled
from pluggd.testing.fake_content import fake_content
from pluggd.testing.fake_snapshotter import FakeSnapshotter
from pluggd.testing.memory import memory_metadata
from pluggd.testing.one_plugin import started

BUNDLED: tuple[Kind[Any], ...] = (GC, EVENTS, NAMESPACES, LEASES, IMAGES, CONTAINERS)
LONGEST_START = 60.0
"""Seconds, more than a daemon would give it."""
GIVEN: dict[str, Kind[Any]] = {"metadata": METADATA, "content": CONTENT}


def registration_at(path: Path, uri: str) -> Registration[Any, Any]:
    """Of the plugin with this URI in a file, a folder or a directory. Raises NotFound."""
    candidates = [path.parent, path, path / "plugins", path / "src"]
    for directory in [one for one in candidates if one.is_dir()]:
        for source in directory_sources(directory):
            if not Path(source.path).is_relative_to(path):
                continue
            for one in examine(source):
                if one.registration is not None and one.uri == uri:
                    return one.registration
    raise NotFound(f"plugin {uri} in {path}: not found")


def options_of(registration: Registration[Any, Any], config: str) -> Record:
    """Those of the config file that has this path, or the defaults when it is "".

    Raises ConfigError with file and line.
    """
    if not config:
        defaults: Record = registration.config()
        return defaults
    sources = load(Path(config))
    section = settings_of(sources).plugins.get(registration.uri, {})
    key = ("plugins", registration.uri)
    problems: list[str] = []
    record: Record | None = check(registration.config, section, key, sources, problems)
    if record is None:
        raise ConfigError(problems)
    return record


async def why_not(path: str, uri: str, root: Path, config: str = "") -> str:
    """Why the plugin does not start as it would for a rule, or ""."""
    try:
        with trio.fail_after(LONGEST_START):
            async with provider(path, uri, {}, root, config):
                return ""
    except trio.TooSlowError:
        return f"start did not return within {LONGEST_START:g} s"
    except Exception as error:  # noqa: BLE001 - whatever an author's start may raise
        return failure_of(error).reason


@asynccontextmanager
async def provider(
    path: str, uri: str, given: Mapping[str, Any], root: Path, config: str = ""
) -> AsyncGenerator[Any]:
    """What the plugin yields, over providers in memory.

    given: what exists already, by the word of its kind. config: a config file with its
    options; "" for its defaults. Raises NotFound (the plugin), FailedPrecondition (it
    requires what nobody has in memory), ConfigError (the file).
    """
    registration = registration_at(Path(path), uri)
    options = options_of(registration, config)
    kinds = {GIVEN[word]: service for word, service in given.items()}
    needed = {*registration.requires, *registration.wants}
    async with AsyncExitStack() as stack:
        await _prepare(stack, kinds, needed, registration.provides, root)
        for kind in registration.requires:
            if kind not in kinds:
                raise FailedPrecondition(
                    f"{uri} requires {kind}, which is not there in memory: write a test"
                    " that gives it one (docs/writing-a-plugin.md, Testing):"
                    " failed precondition"
                )
        directory = root / "root"
        directory.mkdir()
        running = started(registration, kinds, options, directory)
        service, _ = await stack.enter_async_context(running)
        yield service


async def _prepare(
    stack: AsyncExitStack,
    kinds: dict[Kind[Any], Any],
    needed: set[Kind[Any]],
    own: Kind[Any],
    root: Path,
) -> None:
    """Start what the plugin asks for and is not given, in an order that works."""
    if DIFF in needed:
        needed = {*needed, CONTENT}
    if SNAPSHOTS in needed:
        needed = {*needed, SNAPSHOTTER}
    if needed and METADATA not in kinds:
        kinds[METADATA] = await stack.enter_async_context(memory_metadata())
    for kind in BUNDLED:
        if kind is not own and kind in needed:
            await stack.enter_async_context(bundled(kind, kinds))
    if CONTENT in needed and CONTENT not in kinds:
        metadata: Metadata = kinds[METADATA]
        kinds[CONTENT] = await stack.enter_async_context(fake_content(metadata))
    if SNAPSHOTTER in needed and own is not SNAPSHOTTER:
        snapshots = root / "snapshots"
        snapshots.mkdir()
        kinds[SNAPSHOTTER] = FakeSnapshotter(snapshots)
    if DIFF in needed and own is not DIFF and CONTENT in kinds:
        await stack.enter_async_context(bundled(DIFF, kinds))
    if SNAPSHOTS in needed and own is not SNAPSHOTS and SNAPSHOTTER in kinds:
        await stack.enter_async_context(bundled(SNAPSHOTS, kinds))
