# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""From the name of an image at a registry to a process that has run, and back to nothing.

Everything here is real: docker-registry, umoci, skopeo, runc and crun, and the daemon in
a process of its own, used by `pluggctl` alone.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncGenerator, Generator
from pathlib import Path
from typing import Any

import pytest
import trio

from pluggd.cli.ctl.output import size
from pluggd.testing import RunningDaemon, running_daemon
from tests.e2e.image_kit import (
    ANNOTATIONS,
    MANY,
    annotations_of,
    different,
    make_layout,
    tree,
)
from tests.plugins.registry.registry_kit import (
    Registry,
    copy_in,
    descriptor_of,
    docker_registry,
    needs_registry,
    run,
)
from tests.plugins.tasks.kit import left_behind, program, why_not
from tests.plugins.tasks.screen import at_terminal

pytestmark = [
    pytest.mark.slow,
    needs_registry,
    pytest.mark.skipif(
        os.geteuid() != 0 or not Path("/bin/busybox").exists(),
        reason="needs root, to mount and run what was pulled, and busybox-static",
    ),
]

LAYERS = MANY + 5


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_layout(tmp_path_factory.mktemp("image"))


@pytest.fixture(scope="module")
def reference(layout: Path) -> dict[str, Any]:
    """What umoci makes of the image."""
    bundle = layout.parent / "reference"
    run("umoci", "unpack", "--image", f"{layout}:app", str(bundle))
    return tree(bundle / "rootfs")


@pytest.fixture(scope="module")
def registry(
    layout: Path, tmp_path_factory: pytest.TempPathFactory
) -> Generator[Registry]:
    with docker_registry(tmp_path_factory.mktemp("registry")) as running:
        copy_in(layout, "app", running, "made/app:1")
        copy_in(layout, "index", running, "made/index:1", "--all")
        copy_in(layout, "zstd", running, "made/zstd:1")
        yield running


class Ctl:
    """`pluggctl` against one daemon. Ids are unique to a test run."""

    def __init__(self, daemon: RunningDaemon, root: Path) -> None:
        self._base = [sys.executable, "-m", "pluggd.cli.pluggctl"]
        self._base += ["--address", str(daemon.address)]
        self.root = root

    def command(self, *arguments: str) -> list[str]:
        return [*self._base, *arguments]

    async def __call__(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        return await trio.run_process(
            self.command(*arguments),
            capture_stdout=True,
            capture_stderr=True,
            check=False,
        )

    async def ok(self, *arguments: str) -> str:
        done = await self(*arguments)
        assert done.returncode == 0, (arguments, done.stdout, done.stderr)
        return done.stdout.decode()

    async def records(self, *arguments: str) -> Any:
        return json.loads(await self.ok("--json", *arguments))

    def id(self, name: str) -> str:
        return f"{prefix()}-{name}"

    def files(self, plugin: str) -> list[str]:
        """The files and directories that a plugin has below the root."""
        top = self.root / plugin
        return sorted(str(path.relative_to(top)) for path in top.rglob("*"))


def prefix() -> str:
    return f"t{os.getpid()}"


@pytest.fixture(params=["runc", "crun"])
def runtime(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    reason = why_not(request.param)
    if reason:
        pytest.skip(reason)
    return program(request.param, tmp_path)


@pytest.fixture
async def ctl(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncGenerator[Ctl]:
    config: dict[str, Any] = {}
    if "runtime" in request.fixturenames:
        runtime = request.getfixturevalue("runtime")
        config = {"plugins": {"pluggd.tasks.v1.oci": {"runtimes": [runtime]}}}
    with trio.fail_after(240):
        async with running_daemon(tmp_path / "d", config, subprocess=True) as daemon:
            yield Ctl(daemon, tmp_path / "d" / "root")
    assert left_behind(tmp_path / "d", prefix()) == []


async def empty(ctl: Ctl) -> None:
    """Nothing is left, neither in records nor on the disk."""
    for command in (
        ("images", "ls"),
        ("content", "ls"),
        ("content", "active"),
        ("snapshots", "ls", "--snapshotter", "native"),
        ("leases", "ls"),
        ("containers", "ls"),
        ("tasks", "ls"),
    ):
        for namespace in ("default", "other"):
            found = await ctl.records("-n", namespace, *command)
            assert found == [], (namespace, command, found)
    assert not [one for one in ctl.files("pluggd.content.v1.local") if "sha256/" in one]
    assert not [one for one in ctl.files("pluggd.content.v1.local") if "ingest/" in one]
    for name in ("native", "overlayfs"):
        assert ctl.files(f"pluggd.snapshotter.v1.{name}") in ([], ["snapshots"])
    assert not (await ctl.records("content", "fsck", "--deep")).get("findings")


async def figures_of(ctl: Ctl) -> Any:
    answer = json.loads(await ctl.ok("call", "introspection.v1.stats"))
    return answer["figures"]


async def test_an_image_is_pulled_and_runs_and_leaves_nothing(
    ctl: Ctl, registry: Registry, runtime: str
) -> None:
    name = f"{registry.host}/made/app:1"
    before = len(registry.requests('"GET ', "/blobs/"))
    pulled = await ctl.ok("images", "pull", name)
    lines = [one for one in pulled.splitlines() if one.startswith("layer-sha256:")]
    assert sum(one.endswith(": extracted") for one in lines) == LAYERS
    taken = sum(one["size"] for one in await ctl.records("content", "ls"))
    assert f"total: {size(taken)} (" in pulled.splitlines()[-2]
    before += LAYERS + 1
    await registry.told(before, '"GET ', "/blobs/")
    await ctl.ok("-n", "other", "images", "pull", name)
    assert len(registry.requests('"GET ', "/blobs/")) == before
    run = ("run", "--rm")
    assert await ctl.ok(*run, name, ctl.id("hello"), "echo", "hello") == "hello\n"
    done = await ctl(*run, name, ctl.id("seven"), "sh", "-c", "exit 7")
    assert (done.returncode, done.stdout, done.stderr) == (7, b"", b"")
    listed = await ctl.ok(*run, name, ctl.id("mode"), "ls", "-ln", "/data/setuid")
    assert listed.split()[:4] == ["-rwsr-sr-x", "1", "5", "6"]
    command = ctl.command(*run, "-t", "-i", name, ctl.id("tty"), "sh")
    async with at_terminal(command) as screen:
        await screen.shows("# ")
        screen.type("stty size; exit 5\r")
        await screen.shows("33 91")
        assert await screen.ends() == 5
    figures = {one["name"]: one.get("samples", []) for one in await figures_of(ctl)}
    assert figures["registry_received_bytes"][0]["value"] > taken / 2
    assert figures["registry_requests"][0]["value"] > LAYERS
    assert figures["snapshots"][0]["value"] == 2 * LAYERS
    assert figures["task_exits"][0]["value"] == 4
    for namespace in ("default", "other"):
        await ctl.ok("-n", namespace, "images", "rm", "--sync", name)
    await empty(ctl)


async def test_run_pulls_what_is_not_here(
    ctl: Ctl, registry: Registry, runtime: str
) -> None:
    name = f"{registry.host}/made/index:1"
    done = await ctl("run", "--rm", name, ctl.id("new"), "echo", "hello")
    assert (done.returncode, done.stdout) == (0, b"hello\n"), done.stderr
    assert f"{name} is not here: pulling it".encode() in done.stderr
    assert [one["name"] for one in await ctl.records("images", "ls")] == [name]
    missing = f"{registry.host}/made/nothing:1"
    done = await ctl("run", "--rm", missing, ctl.id("no"), "true")
    assert done.returncode == 4
    assert b"not found" in done.stderr
    await ctl.ok("images", "rm", "--sync", name)
    await empty(ctl)


@pytest.mark.parametrize("snapshotter", ["native", "overlayfs"])
@pytest.mark.parametrize("kind", ["app", "index", "zstd"])
async def test_the_files_are_those_that_umoci_makes(
    ctl: Ctl,
    registry: Registry,
    reference: dict[str, Any],
    tmp_path: Path,
    snapshotter: str,
    kind: str,
) -> None:
    name = f"{registry.host}/made/{kind}:1"
    await ctl.ok("images", "pull", "--snapshotter", snapshotter, name)
    target = tmp_path / "mounted"
    target.mkdir()
    await ctl.ok("images", "mount", "--snapshotter", snapshotter, name, str(target))
    try:
        assert different(tree(target), reference) == {}, "not as umoci has it"
    finally:
        await ctl.ok("images", "unmount", str(target))
    again = await ctl("images", "unmount", str(target))
    assert (again.returncode, b"no `images mount`" in again.stderr) == (1, True)
    await ctl.ok("images", "rm", "--sync", name)
    await empty(ctl)


async def test_what_was_pulled_goes_out_and_comes_in_unchanged(
    ctl: Ctl, registry: Registry, layout: Path, tmp_path: Path
) -> None:
    name = f"{registry.host}/made/index:1"
    wanted = descriptor_of(layout, "index")["digest"]
    await ctl.ok("images", "pull", "--all-platforms", "--no-unpack", name)
    blobs = {one["digest"] for one in await ctl.records("content", "ls")}
    out = tmp_path / "out.tar"
    await ctl.ok("images", "export", "--all-platforms", str(out), name)
    await ctl.ok("images", "rm", "--sync", name)
    await empty(ctl)
    await ctl.ok("images", "import", "--all-platforms", str(out))
    (image,) = await ctl.records("images", "ls")
    assert (image["name"], image["target"]["digest"]) == (name, wanted)
    assert {one["digest"] for one in await ctl.records("content", "ls")} == blobs
    unpacked = tmp_path / "unpacked"
    unpacked.mkdir()
    shutil.unpack_archive(out, unpacked, "tar", filter="data")
    for tag in ("index", "app", "other"):
        digest = descriptor_of(layout, tag)["digest"]
        assert annotations_of(unpacked, digest) == ANNOTATIONS
    again = tmp_path / "again.tar"
    await ctl.ok("images", "export", "--all-platforms", str(again), name)
    assert again.read_bytes() == out.read_bytes()
    await ctl.ok("images", "rm", "--sync", name)
    await empty(ctl)
