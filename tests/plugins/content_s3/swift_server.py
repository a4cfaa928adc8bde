# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""OpenStack Swift with its S3 interface on loopback: an object store as people run it.

Beside s3rver it checks what that does not: signatures of version 4, the hash of a body,
and the condition of a put. Four programs of its own, from PyPI, in one directory.
"""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Generator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio

from scripts.bootstrap import make_environment
from tests.plugins.content_s3.s3_server import BUCKET

PACKAGE = "swift==2.38.3"
STORES = ("account", "container", "object")

SERVER = """
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
workers = 0
user = {user}
swift_dir = {root}
devices = {root}/devices
recon_cache_path = {root}/cache
mount_check = false
fallocate_reserve = 0
log_level = ERROR
[pipeline:main]
pipeline = {pipeline}
[app:{name}-server]
use = egg:swift#{name}
"""

PROXY = """
account_autocreate = true
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:s3api]
use = egg:swift#s3api
location = us-east-1
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = testing .admin
[filter:slo]
use = egg:swift#slo
"""

CONF = """
[swift-hash]
swift_hash_path_suffix = of a test
[storage-policy:0]
name = one
default = yes
"""

RINGS = """
import sys
from swift.common.ring import RingBuilder

for place in sys.argv[2:]:
    name, port = place.split("=")
    builder = RingBuilder(4, 1, 0)
    where = {"region": 1, "zone": 1, "ip": "127.0.0.1", "port": int(port)}
    builder.add_dev({"id": 0, "weight": 1, "device": "one", **where})
    builder.rebalance()
    builder.get_ring().save(f"{sys.argv[1]}/{name}.ring.gz")
"""
"""One process for what `swift-ring-builder` would take nine for."""


def installed() -> Path:
    """Its programs, installed once per machine; skips the test with what is missing."""
    caches = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    place = caches / "pluggd-tests" / f"{PACKAGE}-python{version}"
    programs = place / "bin"
    if not (place / "complete").exists():
        # Debian's Python has no ensurepip; ours is made the same way.
        shutil.rmtree(place, ignore_errors=True)
        make_environment(place)
        done = subprocess.run(
            [
                *(str(programs / "python"), "-m", "pip", "install", "--quiet"),
                *("--only-binary=:all:", PACKAGE),
            ],
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        if done.returncode != 0:
            pytest.skip(f"pip cannot install {PACKAGE}: {done.stderr[-200:]}")
        (place / "complete").touch()
    return programs


@dataclass
class SwiftServer:
    """programs: where Swift is installed. directory: where everything of it lies. ports:
    of the proxy, which speaks S3, and of the stores behind it."""

    programs: Path
    directory: Path
    ports: list[int]
    key: str = "test:tester"
    secret: str = "testing"
    _processes: list[subprocess.Popen[bytes]] = field(
        default_factory=list[subprocess.Popen[bytes]]
    )

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.ports[0]}"

    @property
    def is_running(self) -> bool:
        return bool(self._processes)

    async def start(self) -> None:
        """Returns when there is the bucket."""
        await trio.to_thread.run_sync(self._lay_out)
        with trio.fail_after(60):
            # The proxy comes last: it shuns stores that did not answer, for a while.
            for name in STORES:
                self._run(name)
            for port in self.ports[1:]:
                while not answers(port):
                    await self._wait()
            self._run("proxy")
            while not await trio.to_thread.run_sync(self._has_bucket):
                await self._wait()

    async def _wait(self) -> None:
        assert all(one.poll() is None for one in self._processes), "Swift ended"
        await trio.sleep(0.05)

    def _run(self, name: str) -> None:
        program = self.programs / f"swift-{name}-server"
        self._processes.append(
            subprocess.Popen(
                [str(program), str(self.directory / f"{name}-server.conf")],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        )

    def stop(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()
        self._processes = []

    def _lay_out(self) -> None:
        root = self.directory
        for part in ("devices/one", "cache"):
            (root / part).mkdir(parents=True, exist_ok=True)
        (root / "swift.conf").write_text(CONF)
        pipelines = {name: f"{name}-server" for name in STORES}
        pipelines["proxy"] = "catch_errors gatekeeper s3api tempauth slo proxy-server"
        for port, name in zip(self.ports, ("proxy", *STORES), strict=True):
            text = SERVER.format(
                port=port,
                user=getpass.getuser(),
                root=root,
                name=name,
                pipeline=pipelines[name],
            )
            if name == "proxy":
                text += PROXY
            (root / f"{name}-server.conf").write_text(text)
        places = [
            f"{name}={port}" for name, port in zip(STORES, self.ports[1:], strict=True)
        ]
        command = [str(self.programs / "python"), "-c", RINGS, str(root), *places]
        subprocess.run(command, check=True, timeout=60, stderr=subprocess.DEVNULL)

    def _has_bucket(self) -> bool:
        """Make it: with the bucket in the host name, its name is that of an object."""
        import obstore
        from obstore.exceptions import BaseError
        from obstore.store import S3Store

        store = S3Store(
            "none",
            config={
                "endpoint": self.endpoint,
                "region": "us-east-1",
                "access_key_id": self.key,
                "secret_access_key": self.secret,
                "virtual_hosted_style_request": True,
            },
            client_options={"allow_http": True},
            retry_config={"max_retries": 0},
        )
        try:
            obstore.put(store, BUCKET, b"", use_multipart=False)
        except BaseError as error:
            # Made: the answer of a bucket has not what that of an object has.
            return "ETag Header missing" in str(error)
        return True


def swift(directory: Path) -> Generator[SwiftServer]:
    """One that is not started yet."""
    pytest.importorskip(
        "obstore", reason='obstore is missing: pip install "pluggd[s3]"'
    )
    programs = installed()
    directory.mkdir(parents=True, exist_ok=True)
    try:
        os.setxattr(directory, "user.pluggd", b"1")
    except OSError as error:
        pytest.skip(f"Swift needs extended attributes in {directory}: {error.strerror}")
    one = SwiftServer(programs, directory, free_ports(1 + len(STORES)))
    try:
        yield one
    finally:
        one.stop()


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
