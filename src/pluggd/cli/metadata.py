# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""`pluggd metadata`: the metadata stores of a root while no daemon uses it.

A store is started by its own registration, alone, in its own directory or in a new one
beside it; what is copied gets its name only when it is whole.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import click
import trio

from pluggd.cli.configured import configured
from pluggd.core.config import Configuration
from pluggd.core.context import PluginContext
from pluggd.core.discovery import Found
from pluggd.core.exits import EXIT_FAILED, EXIT_RUNNING
from pluggd.core.locks import AlreadyRunning, locked
from pluggd.core.log import make_log
from pluggd.core.table import Row, Table
from pluggd.errors import AlreadyExists, FailedPrecondition, NotFound, PluggdError
from pluggd.metastore.copying import Copied, copy
from pluggd.metastore.store import StoredMetadata
from pluggd.services.metadata import METADATA

PARTIAL = ".copying"


def copy_command(config: Path | None, root: Path | None, origin: str, to: str) -> None:
    """Copy one provider's records to another; exits with what went wrong."""
    configuration, found = _configured(config, root)
    began = time.monotonic()
    copied = _run(_copy, configuration, found, origin, to)
    click.echo(
        f"copied {sum(copied.records.values())} records of {len(copied.records)} tables"
        f" from {origin} to {to} in {time.monotonic() - began:.1f} s"
        f" (sha256 {copied.digest})"
    )
    click.echo(f'now choose it in the configuration: [select] metadata = "{to}"')
    old = configuration.root / f"{METADATA.name}.{origin}"
    click.echo(f"{old} is as it was: remove it when you do not want to go back")


def check_command(config: Path | None, root: Path | None, store: str) -> None:
    """Read a whole store; exits with what is damaged."""
    configuration, found = _configured(config, root)
    _run(_check, configuration, found, store)
    click.echo(f"{store}: no damage found")


def _configured(
    config: Path | None, root: Path | None
) -> tuple[Configuration, list[Found]]:
    given: dict[tuple[str, ...], Any] = {}
    if root is not None:
        given["root",] = str(root.absolute())
    return configured(config, given)


def _run(function: Callable[..., Awaitable[Any]], *arguments: Any) -> Any:
    caught: list[PluggdError] = []

    async def main() -> Any:
        try:
            return await function(*arguments)
        except* PluggdError as errors:
            caught.append(_first(errors))
        return None

    result = trio.run(main)
    if caught:
        print(f"pluggd: {caught[0].message}", file=sys.stderr)
        running = isinstance(caught[0], AlreadyRunning)
        sys.exit(EXIT_RUNNING if running else EXIT_FAILED)
    return result


def _first(errors: BaseExceptionGroup[PluggdError]) -> PluggdError:
    for error in errors.exceptions:
        return _first(error) if isinstance(error, BaseExceptionGroup) else error
    raise AssertionError("a group is never empty")


async def _copy(
    configuration: Configuration, found: list[Found], origin: str, to: str
) -> Copied:
    source, target = _provider(found, origin), _provider(found, to)
    if source is target:
        raise FailedPrecondition(f"{origin} is where it is copied from: name another")
    root = configuration.root
    place = root / target.uri
    partial = root / (target.uri + PARTIAL)
    _existing(root, source)
    async with _alone(configuration):
        if place.exists() and any(place.iterdir()):
            raise AlreadyExists(
                f"{place} holds a store already: move it away, or remove it when it is"
                " an old one"
            )
        if partial.exists():
            shutil.rmtree(partial)  # of a copy that was killed
        async with (
            _started(configuration, source, root / source.uri) as one,
            _started(configuration, target, partial) as other,
        ):
            copied = await copy(one, other, _tell)
        if sys.stderr.isatty():
            click.echo("\r\033[K", err=True, nl=False)
        os.rename(partial, place)  # an empty directory may be in its place
        _sync(root)
    return copied


async def _check(configuration: Configuration, found: list[Found], name: str) -> None:
    one = _provider(found, name)
    _existing(configuration.root, one)
    async with _alone(configuration):
        place = configuration.root / one.uri
        async with _started(configuration, one, place) as store:
            await store.verify()


def _alone(configuration: Configuration) -> Any:
    return locked(
        configuration.root / "pluggd.lock",
        f"root {configuration.root}",
        "choose another --root",
    )


def _provider(found: list[Found], id_: str) -> Found:
    """Raises NotFound naming those that there are."""
    known: dict[str, Found] = {
        one.registration.id: one
        for one in found
        if one.registration is not None and one.registration.provides == METADATA
    }
    if id_ not in known:
        raise NotFound(
            f'metadata provider "{id_}": not found, there is {", ".join(sorted(known))}'
        )
    return known[id_]


def _existing(root: Path, one: Found) -> None:
    if not (root / one.uri).is_dir():
        raise NotFound(f"{root / one.uri}: not found, there is no such store")


@asynccontextmanager
async def _started(
    configuration: Configuration, found: Found, place: Path
) -> AsyncGenerator[StoredMetadata[Any]]:
    registration = found.registration
    assert registration is not None  # _provider looked
    row = Row(found, configuration.records[found.uri])
    log = make_log("warning", "text")
    async with trio.open_nursery() as nursery:

        def spawn(
            function: Callable[..., Awaitable[object]],
            arguments: tuple[object, ...],
            name: str,
        ) -> None:
            nursery.start_soon(function, *arguments, name=name)

        context = PluginContext[Any](
            row,
            registration,
            row.config,
            Table([row]),
            root=place,
            state=place,
            log=log,
            spawn=spawn,
        )
        async with registration.start(context) as store:
            if not isinstance(store, StoredMetadata):
                raise FailedPrecondition(
                    f"{found.uri} keeps its records elsewhere: it has no tables to copy"
                )
            yield store
            nursery.cancel_scope.cancel()


def _tell(table: str, count: int) -> None:
    if sys.stderr.isatty():
        click.echo(f"\r\033[K{table}: {count}", err=True, nl=False)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
