# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""An S3 server on loopback for a test: s3rver, which keeps objects in a directory, so that
it can be stopped and started again.

It refuses an access key that it does not know, and checks no signature of version 4 (its
calculation is not implemented there), nor the hash of a body: that what is signed is what
S3 wants is shown with `swift_server`.

Considered: rclone's `serve s3` (answers a range with status 200, which the library
rightly refuses), moto (checks no signatures, keeps objects in memory, 300 MB installed).
Debian has no MinIO, SeaweedFS, Garage or versitygw.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Generator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pytest
import trio

from tests.ports import reserved_port

PACKAGE = "s3rver@3.7.1"
KEY = "S3RVER"
BUCKET = "blobs-of-a-test"


def installed() -> Path:
    """Its node modules, installed once per machine; skips the test with what is missing."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node and npm are not installed (Debian: nodejs, npm)")
    caches = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    place = caches / "pluggd-tests" / PACKAGE
    if reason := _why_not_installed(place):
        pytest.skip(reason)
    return place / "node_modules"


@cache
def _why_not_installed(place: Path) -> str:
    """Install it if it is not there; what went wrong, "" when it is there."""
    place.parent.mkdir(parents=True, exist_ok=True)
    # One at a time, and there only when it is whole: tests of other processes look, too.
    with place.with_name(f"{PACKAGE}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (place / "node_modules" / "s3rver" / "package.json").exists():
            return ""
        with tempfile.TemporaryDirectory(dir=place.parent) as directory:
            fresh = Path(directory) / "fresh"
            fresh.mkdir()
            reason = _npm_install(fresh)
            if not reason:
                shutil.rmtree(place, ignore_errors=True)
                fresh.rename(place)
            return reason


def _npm_install(directory: Path) -> str:
    command = [
        *("npm", "install", "--no-audit", "--no-fund"),
        *("--prefix", str(directory), PACKAGE),
    ]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=120
        )
    except subprocess.TimeoutExpired:
        return f"npm does not get {PACKAGE} within two minutes"
    if done.returncode != 0:
        return f"npm cannot install {PACKAGE}: {done.stderr[-200:]}"
    return ""


@dataclass
class S3Server:
    """modules: with s3rver. directory: where its objects are. port: the same for all starts."""

    modules: Path
    directory: Path
    port: int
    key: str = KEY
    secret: str = KEY
    _process: subprocess.Popen[bytes] | None = field(default=None)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def is_running(self) -> bool:
        return self._process is not None

    async def start(self) -> None:
        """Returns when it answers."""
        self._process = subprocess.Popen(  # noqa: ASYNC220
            [
                *("node", str(Path(__file__).with_name("s3rver.cjs"))),
                *(str(self.modules), str(self.directory), str(self.port), BUCKET),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        with trio.fail_after(30):
            while not await trio.to_thread.run_sync(self._answers):
                assert self._process.poll() is None, "s3rver ended"

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        try:
            urllib.request.urlopen(self.endpoint, timeout=5).close()
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False
        return True

    # --- what is in the bucket, past all interfaces

    def keys(self, prefix: str = "pluggd") -> list[str]:
        """Of the store's objects, relative to its prefix, without its name."""
        root = self.directory / BUCKET / prefix
        found = [
            str(path.relative_to(root)).removesuffix("._S3rver_object")
            for path in root.rglob("*._S3rver_object")
        ]
        return sorted(key for key in found if key != "id")

    def copy(self, key: str, to: str) -> None:
        """Make another object of one, as nobody who keeps records would."""
        source, target = self.path(key), self.path(to)
        for suffix in ("_object", "_metadata.json", "_object.md5"):
            part = source.with_name(source.name.replace("_object", suffix))
            if part.exists():
                copied = target.with_name(target.name.replace("_object", suffix))
                copied.write_bytes(part.read_bytes())

    def path(self, key: str, prefix: str = "pluggd") -> Path:
        return self.directory / BUCKET / prefix / f"{key}._S3rver_object"


def server(directory: Path) -> Generator[S3Server]:
    """One that is not started yet."""
    pytest.importorskip(
        "obstore", reason='obstore is missing: pip install "pluggd[s3]"'
    )
    directory.mkdir(parents=True, exist_ok=True)
    with reserved_port() as port:
        one = S3Server(installed(), directory, port)
        try:
            yield one
        finally:
            one.stop()
