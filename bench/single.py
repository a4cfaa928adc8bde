# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""One daemon of this tree and one client that times its calls: for what no other daemon
is measured beside, and the Go generator is not needed."""

from __future__ import annotations

import os
import resource
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from daemons import ROOT, Pluggd, environment

sys.path.insert(0, str(ROOT / "src"))

from pluggd.client.blocking import Client
from pluggd.client.lost import ConnectFailed

NAMESPACE = "default"
TICK = os.sysconf("SC_CLK_TCK")


class Daemon:
    """A daemon in `directory`, from exec to its end. started: seconds to the first
    answer."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        target = Pluggd()
        target.prepare(directory)
        self.socket = target.socket(directory)
        self.database = Path(target.database(directory))
        begin = time.perf_counter()
        with (directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                target.command(directory), stdout=log, stderr=log, env=environment()
            )
        while True:
            try:
                with self.client() as client:
                    client.call("introspection.v1.server")
                break
            except ConnectFailed:
                if self._process.poll() is not None:
                    raise RuntimeError(
                        (directory / "log").read_text()[-2000:]
                    ) from None
                time.sleep(0.001)
        self.started = time.perf_counter() - begin

    def client(self) -> Client:
        return Client(self.socket, namespace=NAMESPACE)

    def end(self, number: int = signal.SIGTERM) -> None:
        self._process.send_signal(number)
        self._process.wait(120)

    def cpu(self) -> float:
        """Seconds of processor time so far."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().split()
        return (int(fields[13]) + int(fields[14])) / TICK

    def memory(self) -> dict[str, float]:
        """MiB: rss, and anon, which is without the mapped database."""
        found: dict[str, float] = {}
        for line in Path(f"/proc/{self._process.pid}/status").read_text().splitlines():
            name, _, value = line.partition(":")
            if name in ("VmRSS", "RssAnon"):
                found[name] = int(value.split()[0]) / 1024
        return {"rss": found["VmRSS"], "anon": found["RssAnon"]}

    def settle(self, seconds: float = 60.0) -> None:
        """Wait until it has nothing to do: what a start leaves for later is not asked."""
        end = time.monotonic() + seconds
        before = self.cpu()
        while time.monotonic() < end:
            time.sleep(0.5)
            after = self.cpu()
            if after - before < 0.03:
                return
            before = after


@contextmanager
def running(directory: Path) -> Iterator[Daemon]:
    daemon = Daemon(directory)
    try:
        yield daemon
    finally:
        daemon.end()


def timed(function: Callable[[int], Any], count: int) -> list[float]:
    """Seconds of each of so many calls, in order of length."""
    found: list[float] = []
    for number in range(count):
        begin = time.perf_counter()
        function(number)
        found.append(time.perf_counter() - begin)
    return sorted(found)


def median(values: list[float]) -> float:
    return statistics.median(values)


def p99(values: list[float]) -> float:
    return values[int(len(values) * 0.99)]


def many_files() -> None:
    """As many open files as the system lets us."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def size(seconds: float) -> str:
    """A time as people read it."""
    if seconds < 0.001:
        return f"{seconds * 1e6:.0f} us"
    if seconds < 1:
        return f"{seconds * 1e3:.3g} ms"
    return f"{seconds:.3g} s"
