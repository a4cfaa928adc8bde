# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""`pluggd run`: a daemon object, signals, and an exit code."""

from __future__ import annotations

import gc
import logging
import os
import resource
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from pluggd.cli.configured import configured
from pluggd.cli.loading import load
from pluggd.core.allocator import keep_freed_memory
from pluggd.core.config import Configuration
from pluggd.core.daemon import Daemon
from pluggd.core.discovery import Found, Memory
from pluggd.core.exits import (
    EXIT_FAILED,
    EXIT_OK,
    EXIT_REFUSED,
    EXIT_RUNNING,
    EXIT_STUCK,
)
from pluggd.core.locks import AlreadyRunning
from pluggd.core.log import Log, make_log
from pluggd.core.required import StartRefused
from pluggd.core.signals import handled
from pluggd.errors import PluggdError

if TYPE_CHECKING:
    from pluggd.core.reload import Read

MAX_DESCRIPTORS = 1 << 20
"""Some systems have a hard limit of a thousand times this; nobody needs it, and what
loops over all of them on fork would take seconds."""


def run_command(
    config: str | Path | None = None,
    root: str | Path | None = None,
    state: str | Path | None = None,
    address: str | Path | None = None,
    log_level: str | None = None,
    log_format: str | None = None,
) -> int:
    """`pluggd run` with its options; the exit code. Raises SystemExit for a wrong
    configuration."""
    # What plugins import stays too. Looking for garbage in it would later be a pause
    # each time; `freeze` leaves it out for good.
    gc.disable()
    flags: dict[tuple[str, ...], Any] = {
        ("root",): _absolute(root),
        ("state",): _absolute(state),
        ("rpc", "address"): _absolute(address),
        ("log", "level"): log_level,
        ("log", "format"): log_format,
    }
    given = {key: value for key, value in flags.items() if value is not None}
    file = Path(config) if config else None
    memory: Memory = {}
    configuration, found = configured(file, given, memory)
    gc.freeze()
    gc.enable()
    keep_freed_memory()
    read = partial(load, file, given, memory=memory)
    return run_daemon(configuration, found, read)


def _absolute(path: str | Path | None) -> str | None:
    return str(Path(path).absolute()) if path else None


def run_daemon(configuration: Configuration, found: Sequence[Found], read: Read) -> int:
    """Run until stopped; the exit code of the process. read: for reloads."""
    settings = configuration.settings.log
    log = make_log(settings.level, settings.format)
    # The process is ours here: what libraries warn of goes the same way.
    for handler in log.logger.handlers:
        logging.getLogger().addHandler(handler)
    raise_descriptor_limit()
    try:
        trio.run(_run, configuration, found, read, log)
    except AlreadyRunning as error:
        return _failed(log, error, EXIT_RUNNING)
    except StartRefused as error:
        return _failed(log, error, EXIT_REFUSED)
    except PluggdError as error:
        return _failed(log, error, EXIT_FAILED)
    return EXIT_OK


def raise_descriptor_limit() -> None:
    """Allow as many open files as the system lets us, at most MAX_DESCRIPTORS: one per
    connection, blob and ingest. The usual soft limit of 1024 is for programs that use
    select(2)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = hard if hard != resource.RLIM_INFINITY else MAX_DESCRIPTORS
    wanted = min(wanted, MAX_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def _run(
    configuration: Configuration, found: Sequence[Found], read: Read, log: Log
) -> None:
    refused: PluggdError | None = None
    daemon = Daemon(configuration, found, log=log, stuck=_leave, read=read)
    async with trio.open_nursery() as nursery:
        with handled(daemon, nursery, at_the_end=True):
            try:
                await daemon.run()
            except PluggdError as error:
                refused = error
            nursery.cancel_scope.cancel()
    if refused is not None:
        raise refused


def _leave(uris: list[str]) -> None:
    """Only the end of the process ends code that does not end by itself; all others
    have stopped by now, and the kernel drops the locks."""
    sys.stderr.flush()
    os._exit(EXIT_STUCK)


def _failed(log: Log, error: PluggdError, code: int) -> int:
    for line in error.message.splitlines():
        log.error(line.strip())
    return code
