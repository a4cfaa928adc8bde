# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What docs/writing-a-plugin.md shows is what is in docs/examples, and it works."""

from __future__ import annotations

import io
import re
import sys
import tomllib
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.lowlevel

from docs.examples.image_sizes import SIZES
from docs.examples.own_service import SQUARES, Square
from docs.examples.pins import PINS
from docs.examples.shelf.service import SHELF, Note
from pluggd.client import Client
from pluggd.errors import (
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
)
from pluggd.model.types import Descriptor
from pluggd.services import call
from pluggd.services.images import Image
from pluggd.testing import RunningDaemon, running_daemon
from pluggd.testing.images import small_layout

DOCS = Path(__file__).parent.parent.parent / "docs"
EXAMPLES = DOCS / "examples"
PAGE = (DOCS / "writing-a-plugin.md").read_text()
SHOWN = re.compile(r"<!-- examples/(\S+) -->\n```(?:python|js)\n(.*?)```\n", re.DOTALL)
TOML = re.compile(r"```toml\n(.*?)```\n", re.DOTALL)
NAME = "docker.io/library/hello:latest"


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncGenerator[RunningDaemon]:
    """A daemon with all examples, configured as the page says."""
    directories, kernel = TOML.findall(PAGE)[:2]
    config = directories.replace("/etc/pluggd/plugins", str(EXAMPLES)) + kernel
    with trio.fail_after(60):
        async with running_daemon(tmp_path / "d", config) as running:
            yield running


def target() -> Descriptor:
    digest = f"sha256:{'a' * 64}"
    return Descriptor(media_type="application/x", digest=digest, size=1)


async def dropped(client: Client) -> None:
    """Wait until the shelf has dropped a note."""
    page = await client.events.poll(
        since=0, wait=30, filters=['topic=="/notes/delete"']
    )
    assert page.events


# --- the page


def test_the_page_shows_the_files_as_they_are() -> None:
    shown = SHOWN.findall(PAGE)
    assert shown
    for name, code in shown:
        licence, text = (EXAMPLES / name).read_text().split("\n", 2)[1:]
        assert licence.startswith(("# SPDX", "// SPDX")), name
        assert code.strip() == text.strip(), f"{name} differs from the page"


def test_every_example_is_on_the_page() -> None:
    names = {path.name for path in EXAMPLES.iterdir() if path.name[0] not in "._"}
    for name in names:
        assert f"examples/{name}" in PAGE


def test_the_smallest_plugin_is_small() -> None:
    lines = (EXAMPLES / "hello.py").read_text().splitlines()
    code = [line for line in lines if line.strip() and not line.startswith("#")]
    assert len(code) <= 15


def test_every_piece_of_configuration_is_toml() -> None:
    for text in TOML.findall(PAGE):
        tomllib.loads(text)


# --- the plugins


async def test_every_example_starts(daemon: RunningDaemon) -> None:
    examples = {
        info.uri: info.status
        for info in daemon.daemon.plugins()
        if info.uri.startswith(("example.", "pluggd.credentials."))
        or info.uri == "pluggd.images.v1.keeper"
    }
    # This page's configuration does not put it over anything.
    assert examples.pop("pluggd.images.v1.keeper") == "disabled"
    # Those in proxy/ are programs of their own: tests/proxy runs them.
    count = len(
        [p for p in EXAMPLES.iterdir() if p.name[0] not in "._" and p.name != "proxy"]
    )
    assert len(examples) == count - 1
    assert set(examples.values()) == {"ok"}, daemon.log_text


async def test_the_smallest_plugin_answers_as_the_page_says(
    daemon: RunningDaemon,
) -> None:
    found = re.search(r"\$ pluggctl call (\S+) '(.*)'\n(\{(?:.*\n)*?\}\n)", PAGE)
    assert found is not None
    done = await trio.run_process(
        [
            *(sys.executable, "-m", "pluggd.cli.pluggctl"),
            *("--address", str(daemon.address), "call", found[1], found[2]),
        ],
        capture_stdout=True,
    )
    assert done.stdout.decode() == found[3]


async def test_an_example_that_does_not_apply_is_skipped(tmp_path: Path) -> None:
    config = {
        "plugin_dirs": [str(EXAMPLES)],
        "plugins": {"example.kernel.v1.uname": {"system": "Plan 9"}},
    }
    async with running_daemon(tmp_path, config) as daemon:
        (kernel,) = [
            info
            for info in daemon.daemon.plugins()
            if info.uri == "example.kernel.v1.uname"
        ]
        assert kernel.status == "skipped"
        assert kernel.reason == "this is Linux, not Plan 9"


async def test_the_task_in_the_background_beats_and_ends(tmp_path: Path) -> None:
    config: dict[str, Any] = {
        "plugin_dirs": [str(EXAMPLES)],
        "plugins": {"example.heart.v1.timer": {"interval": 0.001}},
    }
    with trio.fail_after(60):
        async with (
            running_daemon(tmp_path, config) as daemon,
            daemon.client() as client,
        ):
            cursor = beats = 0
            while beats < 3:
                page = await client.events.poll(
                    since=cursor, wait=10, filters=["event.pid"]
                )
                cursor, beats = page.next, beats + len(page.events)
                assert page.events[0].namespace == "example"
        assert re.search(r"stopped after \d+ beats", daemon.log_text)


async def test_the_one_that_reacts_sees_an_image_come(daemon: RunningDaemon) -> None:
    async with daemon.client(namespace="ns") as client:
        await client.images.create(image=Image(name="x", target=target()))
    while "image x came to ns" not in daemon.log_text:
        await trio.lowlevel.checkpoint()


async def test_the_service_of_its_own_answers_and_streams(
    daemon: RunningDaemon,
) -> None:
    async with daemon.client() as client:
        squares = client.get(SQUARES)
        assert (await squares.of(number=7)).square == 49
        taken: list[Square] = []
        send, receive = trio.open_memory_channel[Square](0)

        async def take() -> None:
            taken.extend([square async for square in receive])

        async with trio.open_nursery() as nursery, send:
            nursery.start_soon(take)
            await squares.count(to=500, out=send)
        assert [one.number for one in taken] == list(range(1, 501))
        with pytest.raises(InvalidArgument, match="to must be at least 1"):
            await squares.count(to=0, out=send)


async def test_an_image_is_measured_in_process(daemon: RunningDaemon) -> None:
    layout = small_layout(NAME)
    async with daemon.client(namespace="ns") as client:
        send, receive = trio.open_memory_channel[bytes](1)
        quiet, _progress = trio.open_memory_channel[Any](float("inf"))
        async with trio.open_nursery() as nursery:

            async def upload() -> None:
                await client.transfer.import_(
                    source=receive, progress=quiet, all_platforms=True
                )

            nursery.start_soon(upload)
            async with send:
                archive = io.BytesIO(layout.tar())
                while data := archive.read(65536):
                    await send.send(data)
        sizes = client.get(SIZES)
        assert await sizes.of(name=NAME) > 0
        with pytest.raises(NotFound, match='image "nope": not found'):
            await sizes.of(name="nope")


async def test_the_shelf_keeps_notes_as_long_as_their_images(
    daemon: RunningDaemon,
) -> None:
    async with daemon.client(namespace="ns") as client:
        shelf = client.get(SHELF)
        with pytest.raises(NotFound, match='image "x"'):
            await shelf.put(note=Note(image="x", text="early"))
        await client.images.create(image=Image(name="x", target=target()))
        written = await shelf.put(note=Note(image="x", text="good"))
        assert written.written_at > 0
        assert await shelf.get(image="x") == written
        assert (await shelf.list()).notes == [written]
        with pytest.raises(InvalidArgument, match="1 to 1000 characters"):
            await shelf.put(note=Note(image="x"))
        await client.images.delete(name="x")
        await dropped(client)
        assert (await shelf.list()).notes == []
        with pytest.raises(NotFound, match='note on image "x"'):
            await shelf.get(image="x")
    async with daemon.client() as client:
        with pytest.raises(FailedPrecondition, match="namespace is required"):
            await client.get(SHELF).list()


async def test_a_note_on_a_new_image_survives_the_events_of_the_old_one(
    tmp_path: Path,
) -> None:
    config = {"plugin_dirs": [str(EXAMPLES)]}
    with trio.fail_after(60):
        async with (
            running_daemon(tmp_path, config) as daemon,
            daemon.client(namespace="ns") as client,
        ):
            await client.images.create(image=Image(name="x", target=target()))
            await client.images.delete(name="x")
            await client.images.create(image=Image(name="x", target=target()))
            await client.get(SHELF).put(note=Note(image="x", text="new"))
        async with (
            running_daemon(tmp_path, config) as daemon,
            daemon.client(namespace="ns") as client,
        ):
            # The next deletion that is followed comes after all replayed ones.
            await client.images.create(image=Image(name="y", target=target()))
            await client.get(SHELF).put(note=Note(image="y", text="other"))
            await client.images.delete(name="y")
            await dropped(client)
            assert (await client.get(SHELF).get(image="x")).text == "new"


async def test_a_decorator_stands_before_the_store(tmp_path: Path) -> None:
    config = f"""
        plugin_dirs = ["{EXAMPLES}"]
        [decorate]
        images = ["policy", "keeper"]
        [plugins."pluggd.images.v1.keeper"]
        keep = ["{NAME}"]
    """
    with trio.fail_after(60):
        async with (
            running_daemon(tmp_path, config) as daemon,
            daemon.client(namespace="default") as client,
        ):
            await client.images.create(image=Image(name=NAME, target=target()))
            with pytest.raises(PermissionDenied, match="is in keep"):
                await client.images.delete(name=NAME)
            assert daemon.status("pluggd.images.v1.keeper") == "ok"
            assert daemon.status("pluggd.images.v1.policy") == "ok"


async def counted(client: Client, images: int) -> None:
    """Wait until the pins have counted so many images."""
    while await client.get(PINS).images() != images:
        await trio.lowlevel.checkpoint()


async def test_a_pin_keeps_its_blob_for_its_time(daemon: RunningDaemon) -> None:
    async with daemon.client(namespace="ns") as client:
        pins, content = client.get(PINS), client.content
        lease = await client.leases.create()
        with call.using(namespace="ns", lease=lease.id):
            blobs = [
                await content.write(ref="r", action="commit", data=data)
                for data in (b"kept", b"let go", b"over")
            ]
        for name, blob, seconds in zip("abc", blobs, (3600, 3600, 0), strict=True):
            await pins.pin(name=name, digest=blob.digest, seconds=seconds)
        await pins.unpin(name="b")
        await client.leases.delete(id=lease.id, sync=True)
        left = [info.digest for info in (await content.list()).infos]
        assert left == [blobs[0].digest]
        page = await client.events.poll(since=0, filters=['topic=="/pins/expire"'])
        assert [one.event.value for one in page.events] == [{"name": "c"}]
        with pytest.raises(NotFound, match='pin "b": not found'):
            await pins.unpin(name="b")


async def test_a_stored_cursor_counts_each_event_once(tmp_path: Path) -> None:
    config = {"plugin_dirs": [str(EXAMPLES)]}
    with trio.fail_after(60):
        for expected in (1, 2, 3):
            async with (
                running_daemon(tmp_path, config) as daemon,
                daemon.client(namespace="ns") as client,
            ):
                await client.images.create(
                    image=Image(name=f"i{expected}", target=target())
                )
                await counted(client, expected)
