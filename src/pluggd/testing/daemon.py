# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""A real daemon for a test: in this process, or in one of its own.

The same code as `pluggd run`, with directories of the test's own. In process, the test
can look at the daemon object and use a mock clock; a subprocess can be killed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from pluggd.core.config import Configuration
from pluggd.core.daemon import Daemon
from pluggd.core.discovery import Found
from pluggd.core.listener import MAX_PATH
from pluggd.core.loading import load_all
from pluggd.core.log import Log, make_log
from pluggd.core.toml_text import table_text
from pluggd.errors import PluggdError
from pluggd.plugin import Registration
from pluggd.proxy import proxies

if TYPE_CHECKING:
    from pluggd.client import Client

STARTED = 30.0
"""Seconds after which a daemon that does not answer is a failed test."""


class RunningDaemon:
    """address: where it listens. daemon: the object, in process only. pid: of the
    process. log_file: what it wrote."""

    def __init__(
        self,
        address: Path,
        log_file: Path,
        *,
        daemon: Daemon | None = None,
        process: trio.Process | None = None,
    ) -> None:
        self.address = address
        self.log_file = log_file
        self.process = process
        self._daemon = daemon
        self._stopped = trio.Event()

    @property
    def daemon(self) -> Daemon:
        if self._daemon is None:
            raise RuntimeError("the daemon runs in a process of its own")
        return self._daemon

    @property
    def pid(self) -> int:
        return os.getpid() if self.process is None else self.process.pid

    @property
    def log_text(self) -> str:
        """All log lines so far."""
        return self.log_file.read_text()

    def status(self, uri: str) -> str:
        """The status of a plugin, in process only. Raises KeyError."""
        return {info.uri: info.status for info in self.daemon.plugins()}[uri]

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send a signal to the process; subprocess only."""
        if self.process is None:
            raise RuntimeError("the daemon runs in this process")
        self.process.send_signal(number)

    async def stop(self) -> int:
        """Stop it and wait until it is gone; the exit code (0 in process)."""
        if self.process is not None:
            if self.process.poll() is None:
                self.process.terminate()
            return await self.process.wait()
        self.daemon.stop("test")
        await self._stopped.wait()
        return 0

    @asynccontextmanager
    async def client(self, **options: Any) -> AsyncGenerator[Client]:
        """A client of it; options as for `pluggd.client.connect`."""
        from pluggd.client import connect

        async with connect(self.address, **options) as client:
            yield client

    def mark_stopped(self) -> None:
        self._stopped.set()


def config_text(config: str | Mapping[str, Any]) -> str:
    """TOML of a text or of nested dicts."""
    return config if isinstance(config, str) else table_text(config)


def _write_config(directory: Path, config: str | Mapping[str, Any]) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / "config.toml"
    file.write_text(config_text(config))
    return file


@asynccontextmanager
async def running_daemon(
    tmp_path: Path,
    config: str | Mapping[str, Any] = "",
    plugins: Sequence[Registration[Any, Any]] = (),
    *,
    subprocess: bool = False,
    bundled: bool = True,
    flags: Sequence[str] = (),
) -> AsyncGenerator[RunningDaemon]:
    """Run a daemon with its directories below `tmp_path` while the block runs.

    config: config.toml, as text or nested dicts; the same tmp_path gives the same root,
    so that a second daemon finds what the first one stored. plugins: registrations
    beside those that are discovered, in process only; one that is installed as well is
    there once. bundled: whether the bundled
    plugins are there, in process only. flags: of `pluggd run`, subprocess only.
    """
    file = _write_config(tmp_path, config)
    async with AsyncExitStack() as stack:
        address = tmp_path / "state" / "pluggd.sock"
        if len(os.fsencode(address)) > MAX_PATH - len(".lock"):
            # pytest's directories may be too long for a socket.
            short = stack.enter_context(
                tempfile.TemporaryDirectory(prefix="pluggd-", dir="/tmp")
            )
            address = Path(short) / "pluggd.sock"
        places = {
            ("root",): str(tmp_path / "root"),
            ("state",): str(tmp_path / "state"),
            ("rpc", "address"): str(address),
        }
        log_file = tmp_path / "pluggd.log"
        if subprocess:
            arguments = [
                *("--config", str(file), "--root", places[("root",)]),
                *("--state", places[("state",)], "--address", str(address)),
                *flags,
            ]
            running = _in_subprocess(address, log_file, arguments)
        else:
            log = make_log(stream=stack.enter_context(log_file.open("a", buffering=1)))
            given = [Found(one.uri, one.uri, "test", one) for one in plugins]
            load = partial(
                load_all,
                file,
                places,
                memory={},
                bundled=bundled,
                more=lambda settings, found: [
                    *given,
                    *proxies(settings, [*found, *given]),
                ],
            )

            def read() -> tuple[Configuration, list[Found]]:
                configuration, found = load()
                return configuration, _without_installed(found, given)

            configuration, found = read()
            log.logger.setLevel(configuration.settings.log.level.upper())
            daemon = Daemon(configuration, found, log=log, stuck=_complain, read=read)
            running = _in_process(daemon, address, log_file, log)
        yield await stack.enter_async_context(running)


def _without_installed(found: list[Found], given: list[Found]) -> list[Found]:
    """What is tested may be installed as well, as with `pip install -e`: it is one
    plugin and not two of one URI."""
    uris = {one.uri for one in given}
    return [
        one
        for one in found
        if one.origin in ("test", "proxy", "bundled")
        or one.uri not in uris
        or Path(one.path).is_absolute()
    ]


def _complain(uris: list[str]) -> None:
    """Nothing but the end of the process ends such a task, so the test hangs from here
    on: say at least why."""
    sys.stderr.write(f"pluggd: tasks that will not end: {', '.join(uris)}\n")


@asynccontextmanager
async def _in_process(
    daemon: Daemon, address: Path, log_file: Path, log: Log
) -> AsyncGenerator[RunningDaemon]:
    running = RunningDaemon(address, log_file, daemon=daemon)

    # Raised at the very end, where no nursery wraps it in a group: what a test asserts
    # inside the block is to look like any other assertion.
    errors: list[BaseException] = []

    async def run(task_status: trio.TaskStatus[Daemon]) -> None:
        try:
            await daemon.run(task_status=task_status)
        except PluggdError as error:
            errors.append(error)
            task_status.started(daemon)
        finally:
            running.mark_stopped()

    async with trio.open_nursery() as nursery:
        await nursery.start(run)
        if not errors:
            try:
                yield running
            except trio.Cancelled:
                raise
            except BaseException as error:  # noqa: BLE001 - raised below
                # pytest's skip and fail are no Exceptions.
                errors.append(error)
            await running.stop()
    if errors:
        raise errors[0]


@asynccontextmanager
async def _in_subprocess(
    address: Path, log_file: Path, arguments: Sequence[str]
) -> AsyncGenerator[RunningDaemon]:
    with log_file.open("a") as log:
        process = await trio.lowlevel.open_process(
            [sys.executable, "-m", "pluggd", "run", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    running = RunningDaemon(address, log_file, process=process)
    try:
        with trio.fail_after(STARTED):
            while not _answers(address):
                if process.poll() is not None:
                    raise RuntimeError(
                        f"the daemon ended with {process.returncode}:\n{running.log_text}"
                    )
                await trio.sleep(0.01)
        yield running
        await running.stop()
    finally:
        if process.poll() is None:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()


def _answers(address: Path) -> bool:
    import socket

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        return probe.connect_ex(str(address)) == 0
