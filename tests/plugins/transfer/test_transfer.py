# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Images go in whole or not at all, and come out as they went in."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from pluggd.client import Client
from pluggd.errors import (
    AlreadyExists,
    DataLoss,
    InvalidArgument,
    NotFound,
    PluggdError,
    ResourceExhausted,
)
from pluggd.model import oci
from pluggd.model.types import Descriptor
from pluggd.services.images import Image
from pluggd.services.rpc import Fd
from pluggd.services.transfer import ExportItem, Imported, Progress
from pluggd.testing import running_daemon
from pluggd.testing.images import Layout, docker_archive, pack, small_layout

NAME = "docker.io/library/hello:latest"


@asynccontextmanager
async def connected(tmp_path: Path, config: str = "") -> AsyncGenerator[Client]:
    async with (
        running_daemon(tmp_path / "daemon", config) as daemon,
        daemon.client(namespace="default") as client,
    ):
        yield client


async def import_archive(
    client: Client,
    data: bytes,
    *,
    step: int = 10_000,
    platforms: Sequence[str] = (),
    all_platforms: bool = False,
    base_name: str = "",
    index_name: str = "",
    digests: bool = False,
) -> Imported:
    send, source = trio.open_memory_channel[bytes](0)
    progress, _shown = trio.open_memory_channel[Progress](float("inf"))
    imported: Imported | None = None

    async def feed() -> None:
        async with send:
            for start in range(0, len(data), step):
                await send.send(data[start : start + step])

    failure: PluggdError | None = None
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(feed)
            try:
                imported = await client.transfer.import_(
                    source=source,
                    progress=progress,
                    platforms=platforms,
                    all_platforms=all_platforms,
                    base_name=base_name,
                    index_name=index_name,
                    digests=digests,
                )
            except PluggdError as error:
                failure = error
            nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure
    assert imported is not None
    return imported


async def export_archive(
    client: Client, *names: str, all_platforms: bool = False
) -> bytes:
    out, items = trio.open_memory_channel[ExportItem](float("inf"))
    with trio.fail_after(20):
        result = await client.transfer.export(
            names=names, all_platforms=all_platforms, out=out
        )
    await out.aclose()
    data = b"".join([item.data async for item in items])
    assert len(data) == result.size
    return data


def files_of(data: bytes) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for entry in tar:
            content = tar.extractfile(entry) if entry.isfile() else None
            if content is not None:
                found[entry.name] = content.read()
    return found


def blobs_in(data: bytes) -> set[str]:
    """The digests of an archive."""
    return {
        name.removeprefix("blobs/").replace("/", ":")
        for name in files_of(data)
        if name.startswith("blobs/")
    }


async def assert_nothing_changed(client: Client) -> None:
    assert (await client.images.list()).images == []
    assert (await client.leases.list()).leases == []
    assert (await client.content.list_statuses()).statuses == []
    await client.gc.run(wait=True)
    assert (await client.content.list()).infos == []


async def test_an_imported_image_is_whole_and_survives_a_collection(
    tmp_path: Path,
) -> None:
    layout = small_layout(NAME)
    async with connected(tmp_path) as client:
        imported = await import_archive(client, layout.tar(), step=777)
        assert [image.name for image in imported.images] == [NAME]
        await client.gc.run(wait=True, full=True)
        infos = (await client.content.list()).infos
        assert {info.digest for info in infos} == set(layout.blobs)
        assert (await client.leases.list()).leases == []


async def test_an_export_is_the_same_twice_and_carries_every_blob(
    tmp_path: Path,
) -> None:
    layout = small_layout(NAME)
    async with connected(tmp_path) as client:
        await import_archive(client, layout.tar())
        first = await export_archive(client, NAME)
        assert await export_archive(client, NAME) == first
    files = files_of(first)
    assert list(files) == sorted(files)
    for digest, data in layout.blobs.items():
        assert files[f"blobs/{digest.replace(':', '/')}"] == data
    (entry,) = json.loads(files["manifest.json"])
    assert entry["RepoTags"] == ["hello:latest"]


async def test_annotations_of_the_index_survive_import_and_export(
    tmp_path: Path,
) -> None:
    layout = Layout()
    image = layout.add_image([{"a": b"1"}], annotations={"inner": "kept"})
    layout.name(image, NAME, {"org.example.outer": "kept too"})
    async with connected(tmp_path) as client:
        await import_archive(client, layout.tar())
        stored = await client.images.get(name=NAME)
        assert stored.target.annotations["org.example.outer"] == "kept too"
        exported = files_of(await export_archive(client, NAME))
    (entry,) = json.loads(exported["index.json"])["manifests"]
    assert entry["annotations"]["org.example.outer"] == "kept too"
    assert entry["digest"] == image["digest"]


async def test_what_was_exported_can_be_imported_elsewhere(tmp_path: Path) -> None:
    async with connected(tmp_path / "one") as client:
        await import_archive(client, small_layout(NAME).tar())
        target = (await client.images.get(name=NAME)).target
        data = await export_archive(client, NAME)
    async with connected(tmp_path / "two") as client:
        await import_archive(client, data)
        assert (await client.images.get(name=NAME)).target.digest == target.digest


async def test_a_descriptor_serves_for_both_directions(tmp_path: Path) -> None:
    (tmp_path / "in.tar").write_bytes(small_layout(NAME).tar())
    async with connected(tmp_path) as client:
        progress, _ = trio.open_memory_channel[Progress](float("inf"))
        _, nothing = trio.open_memory_channel[bytes](0)
        fd = Fd(os.open(tmp_path / "in.tar", os.O_RDONLY))
        with trio.fail_after(20):
            await client.transfer.import_(fd=fd, source=nothing, progress=progress)
        out, items = trio.open_memory_channel[ExportItem](float("inf"))
        fd = Fd(os.open(tmp_path / "out.tar", os.O_WRONLY | os.O_CREAT, 0o600))
        with trio.fail_after(20):
            result = await client.transfer.export(names=[NAME], fd=fd, out=out)
        await out.aclose()
        assert not any([item.data async for item in items])
        assert await export_archive(client, NAME) == (tmp_path / "out.tar").read_bytes()
        assert result.size == (tmp_path / "out.tar").stat().st_size


# --- platforms and names


def two_platforms() -> Layout:
    layout = Layout()
    amd = layout.add_image([{"a": b"amd"}], architecture="amd64")
    arm = layout.add_image([{"a": b"arm"}], architecture="arm64")
    layout.name(layout.add_index([amd, arm]), NAME)
    return layout


async def test_only_the_wanted_platforms_are_kept(tmp_path: Path) -> None:
    layout = two_platforms()
    async with connected(tmp_path) as client:
        await import_archive(client, layout.tar(), platforms=["linux/arm64"])
        await client.gc.run(wait=True)
        kept = {info.digest for info in (await client.content.list()).infos}
        assert len(kept) == 4  # index, manifest, config, layer
        await import_archive(client, layout.tar(), all_platforms=True)
        await client.gc.run(wait=True)
        assert len((await client.content.list()).infos) == 7
        exported = files_of(await export_archive(client, NAME, all_platforms=True))
        assert sum(name.startswith("blobs/") for name in exported) == 7


async def test_an_archive_for_other_platforms_says_which_it_has(tmp_path: Path) -> None:
    layout = Layout()
    layout.name(layout.add_image([{"a": b"s"}], architecture="s390x"), NAME)
    async with connected(tmp_path) as client:
        with pytest.raises(InvalidArgument, match="it has linux/s390x"):
            await import_archive(client, layout.tar(), platforms=["linux/amd64"])
        await assert_nothing_changed(client)


async def test_a_bare_tag_gets_the_base_name(tmp_path: Path) -> None:
    async with connected(tmp_path) as client:
        imported = await import_archive(
            client, small_layout("1.0").tar(), base_name="example.com/app", digests=True
        )
        names = [image.name for image in imported.images]
        digest = imported.images[0].target.digest
        assert names == ["example.com/app:1.0", f"example.com/app@{digest}"]


async def test_an_image_without_a_name_is_refused_unless_the_index_gets_one(
    tmp_path: Path,
) -> None:
    data = small_layout(None).tar()
    async with connected(tmp_path) as client:
        with pytest.raises(InvalidArgument, match="has a name"):
            await import_archive(client, data)
        imported = await import_archive(client, data, index_name="example.com/all:1")
        assert [image.name for image in imported.images] == ["example.com/all:1"]
        assert imported.images[0].target.media_type == oci.OCI_INDEX
        await client.gc.run(wait=True)
        assert len((await client.content.list()).infos) == 5


@pytest.mark.parametrize("link_layers", [False, True])
async def test_a_docker_archive_becomes_an_image(
    tmp_path: Path, link_layers: bool
) -> None:
    async with connected(tmp_path) as client:
        data = docker_archive(["hello:1", "example.com/x"], link_layers=link_layers)
        imported = await import_archive(client, data)
        assert [image.name for image in imported.images] == [
            "docker.io/library/hello:1",
            "example.com/x:latest",
        ]
        await client.gc.run(wait=True)
        assert len((await client.content.list()).infos) == (3 if link_layers else 4)
        await export_archive(client, "docker.io/library/hello:1")


async def test_importing_again_moves_the_name_and_keeps_its_labels(
    tmp_path: Path,
) -> None:
    async with connected(tmp_path) as client:
        (first,) = (await import_archive(client, small_layout(NAME).tar())).images
        await client.images.update(
            image=Image(name=NAME, labels={"mine": "1"}), fields=["labels.mine"]
        )
        layout = Layout()
        layout.name(layout.add_image([{"other": b"x"}]), NAME)
        (second,) = (await import_archive(client, layout.tar())).images
        assert second.target.digest != first.target.digest
        assert second.labels == {"mine": "1"}


# --- bad archives change nothing


def entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> bytes:
    header = tarfile.TarInfo(name)
    header.type = kind
    header.linkname = link
    return header.tobuf()


GOOD = small_layout(NAME).tar()
BLOB = "blobs/sha256/" + "a" * 64


@pytest.mark.parametrize(
    ("data", "error", "text"),
    [
        (b"", InvalidArgument, "empty, or not a tar archive"),
        (b"nonsense" * 200, InvalidArgument, "not a tar archive"),
        (GOOD[:3000], InvalidArgument, "truncated"),
        (GOOD[: len(GOOD) // 1024 * 512 + 7], InvalidArgument, "truncated"),
        (entry("../x") + GOOD, InvalidArgument, '"../x" leaves the archive'),
        (entry("a/../../x") + GOOD, InvalidArgument, "leaves the archive"),
        (entry("/etc/passwd") + GOOD, InvalidArgument, "absolute path"),
        (entry("x") + entry("./x") + GOOD, InvalidArgument, 'two entries named "x"'),
        (
            entry("l", tarfile.SYMTYPE, "../../etc") + GOOD,
            InvalidArgument,
            "leaves the",
        ),
        (entry("l", tarfile.SYMTYPE, "/etc") + GOOD, InvalidArgument, "absolute path"),
        (entry(BLOB, tarfile.SYMTYPE, "../x") + GOOD, InvalidArgument, "not a link"),
        (
            entry("oci-layout", tarfile.SYMTYPE, "x") + GOOD,
            InvalidArgument,
            "not a link",
        ),
        (entry("h", tarfile.LNKTYPE, "x") + GOOD, InvalidArgument, "neither a file"),
        (entry("d", tarfile.CHRTYPE) + GOOD, InvalidArgument, "neither a file"),
        (entry("blobs/md5/aa") + GOOD, InvalidArgument, "blobs/<algorithm>/<hex>"),
        (pack({"x": b"y"}), InvalidArgument, "unrecognized image format"),
        (pack({"oci-layout": b"{"}), InvalidArgument, "oci-layout"),
        (
            pack({"oci-layout": b'{"imageLayoutVersion":"2.0.0"}'}),
            InvalidArgument,
            '"2.0.0" is not supported',
        ),
        (
            pack({"oci-layout": b'{"imageLayoutVersion":"1.0.0"}'}),
            InvalidArgument,
            "no index.json",
        ),
        (pack({BLOB: b"other bytes"}), DataLoss, "does not match"),
    ],
)
async def test_a_bad_archive_is_refused_and_changes_nothing(
    tmp_path: Path, data: bytes, error: type[PluggdError], text: str
) -> None:
    async with connected(tmp_path) as client:
        with pytest.raises(error) as raised:
            await import_archive(client, data)
        assert text in str(raised.value)
        await assert_nothing_changed(client)


async def test_a_missing_blob_is_named(tmp_path: Path) -> None:
    layout = small_layout(NAME)
    layer = next(
        digest for digest, data in layout.blobs.items() if data[:2] == b"\x1f\x8b"
    )
    del layout.blobs[layer]
    async with connected(tmp_path) as client:
        with pytest.raises(InvalidArgument, match=f"names {layer}, which is not in it"):
            await import_archive(client, layout.tar())
        await assert_nothing_changed(client)


async def test_a_manifest_that_poses_as_an_index_is_refused(tmp_path: Path) -> None:
    layout = Layout()
    image = layout.add_image([{"a": b"1"}])
    layout.name({**image, "mediaType": oci.OCI_INDEX}, NAME)
    async with connected(tmp_path) as client:
        with pytest.raises(InvalidArgument, match="holds a config or layers"):
            await import_archive(client, layout.tar())
        await assert_nothing_changed(client)


async def test_an_oversized_description_is_refused_before_it_is_read(
    tmp_path: Path,
) -> None:
    config = (
        '[plugins."pluggd.transfer.v1.local"]\nmax_json = 1000\nmax_manifest = 300\n'
    )
    async with connected(tmp_path, config) as client:
        with pytest.raises(ResourceExhausted, match="max_json"):
            await import_archive(client, pack({"index.json": b" " * 1001}))
        with pytest.raises(ResourceExhausted, match="max_manifest"):
            await import_archive(client, GOOD)
        await assert_nothing_changed(client)


def index_over(
    layout: Layout, note: str, entries: list[dict[str, Any]]
) -> dict[str, Any]:
    """An index that differs from others over the same entries by its note."""
    index = {
        "schemaVersion": 2,
        "manifests": entries,
        "annotations": {"note": note},
    }
    return layout.add_json(index, oci.OCI_INDEX)


def tower(levels: int) -> Layout:
    """One image in an index in an index, ..."""
    layout = Layout()
    top = layout.add_image([{"a": b"1"}])
    for level in range(levels):
        top = index_over(layout, str(level), [top])
    layout.name(top, NAME)
    return layout


async def test_as_many_indexes_within_indexes_as_are_allowed(tmp_path: Path) -> None:
    layout = tower(4)
    async with connected(tmp_path) as client:
        await import_archive(client, layout.tar())
        assert blobs_in(await export_archive(client, NAME)) == set(layout.blobs)


async def test_indexes_within_indexes_have_an_end(tmp_path: Path) -> None:
    data = tower(5).tar()
    async with connected(tmp_path) as client:
        with pytest.raises(ResourceExhausted, match="within more than 4 others"):
            await import_archive(client, data)
        await assert_nothing_changed(client)


@pytest.mark.parametrize("architecture", ["amd64", "s390x"])
async def test_indexes_that_name_the_same_parts_are_looked_at_once(
    tmp_path: Path, architecture: str
) -> None:
    """Three levels of seventy indexes, each of which names all that are below: a third of a
    million ways to the one manifest, which is wanted or not."""
    layout = Layout()
    below = [layout.add_image([{"a": b"1"}], architecture=architecture)]
    for level in range(4):
        below = [index_over(layout, f"{level} {n}", below) for n in range(70)]
    layout.name(below[0], NAME)
    for other in below[1:]:
        del layout.blobs[other["digest"]]
    async with connected(tmp_path) as client:
        if architecture != "amd64":
            with pytest.raises(InvalidArgument, match=architecture):
                await import_archive(
                    client, layout.tar(), step=1 << 20, platforms=["linux/amd64"]
                )
            return
        await import_archive(
            client, layout.tar(), step=1 << 20, platforms=["linux/amd64"]
        )
        data = await export_archive(client, NAME, all_platforms=True)
        assert blobs_in(data) == set(layout.blobs)


async def test_a_cancelled_import_leaves_nothing(tmp_path: Path) -> None:
    async with connected(tmp_path) as client:
        send, source = trio.open_memory_channel[bytes](0)
        progress, _ = trio.open_memory_channel[Progress](float("inf"))
        async with trio.open_nursery() as nursery:

            async def run() -> None:
                await client.transfer.import_(source=source, progress=progress)

            nursery.start_soon(run)
            with trio.fail_after(10):
                await send.send(GOOD[:2000])
                while not (await client.transfer.status()).transfers:
                    await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        with trio.fail_after(10):
            while (await client.transfer.status()).transfers:
                await trio.lowlevel.checkpoint()
        await assert_nothing_changed(client)


# --- exports that cannot be


async def test_an_incomplete_image_is_an_error_before_the_first_byte(
    tmp_path: Path,
) -> None:
    target = Descriptor(
        media_type=oci.OCI_MANIFEST, digest="sha256:" + "0" * 64, size=1
    )
    async with connected(tmp_path) as client:
        await client.images.create(image=Image(name="x", target=target))
        with pytest.raises(NotFound, match='image "x" is incomplete'):
            await export_archive(client, "x")
        with pytest.raises(NotFound, match='image "y": not found'):
            await export_archive(client, "y")


async def test_a_layer_alone_is_not_exported(tmp_path: Path) -> None:
    target = Descriptor(media_type=oci.OCI_LAYER, digest="sha256:" + "0" * 64, size=1)
    async with connected(tmp_path) as client:
        await client.images.create(image=Image(name="x", target=target))
        with pytest.raises(InvalidArgument, match="only manifests may be exported"):
            await export_archive(client, "x")


def damage_largest_blob(directory: Path) -> str:
    blob = max(
        directory.glob("daemon/**/blobs/sha256/*"), key=lambda path: path.stat().st_size
    )
    blob.chmod(0o600)
    damaged = bytearray(blob.read_bytes())
    damaged[20] ^= 1
    blob.write_bytes(damaged)
    return blob.name


async def test_a_damaged_blob_ends_the_export(tmp_path: Path) -> None:
    files = '[plugins."pluggd.content.v1.local"]\nmax_inline = 0\n'
    async with connected(tmp_path, files) as client:
        await import_archive(client, GOOD)
        name = damage_largest_blob(tmp_path)
        with pytest.raises(DataLoss, match=f"sha256:{name} is damaged"):
            await export_archive(client, NAME)


async def test_further_names_come_all_or_none(tmp_path: Path) -> None:
    async with connected(tmp_path) as client:
        await import_archive(client, small_layout(NAME).tar())
        made = await client.transfer.tag(source=NAME, names=["a:1", "b:1"])
        assert [image.name for image in made.images] == ["a:1", "b:1"]
        target = (await client.images.get(name=NAME)).target
        assert {image.target.digest for image in made.images} == {target.digest}
        with pytest.raises(AlreadyExists):
            await client.transfer.tag(source=NAME, names=["c:1", "a:1"])
        with pytest.raises(NotFound):
            await client.images.get(name="c:1")
        with pytest.raises(NotFound):
            await client.transfer.tag(source="nope", names=["c:1"])
        await client.transfer.tag(source=NAME, names=["c:1", "a:1"], force=True)
        assert (await client.images.get(name="c:1")).target == target
