# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""An image becomes a chain of snapshots: once, wholly, and kept as long as the image."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
import trio

from pluggd.errors import (
    DataLoss,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PluggdError,
)
from pluggd.model import oci
from pluggd.services.images import Image
from pluggd.testing.images import Layout
from tests.plugins.unpack.unpack_setup import (
    NAME,
    Stand,
    descriptor,
    parts,
    standing,
)

LAYERS = [
    {"etc/hosts": b"one\n", "old": b"old"},
    {"etc/motd": b"two\n", ".wh.old": b""},
    {"bin/hello": b"#!/bin/sh\n" * 1000},
]


def made() -> tuple[Layout, dict[str, Any], list[str]]:
    """An image of three layers, and its chain IDs."""
    layout = Layout()
    target = layout.add_image(LAYERS)
    manifest = json.loads(layout.blobs[target["digest"]])
    config = json.loads(layout.blobs[manifest["config"]["digest"]])
    chain = [config["rootfs"]["diff_ids"][0]]
    for diff_id in config["rootfs"]["diff_ids"][1:]:
        both = f"{chain[-1]} {diff_id}".encode()
        chain.append(f"sha256:{hashlib.sha256(both).hexdigest()}")
    return layout, target, chain


FILES = """
[plugins."pluggd.content.v1.local"]
max_inline = 0
"""


@pytest.fixture
async def stand(tmp_path: Path) -> AsyncGenerator[Stand]:
    with trio.fail_after(60):
        async with standing(tmp_path) as stand:
            yield stand


@pytest.fixture(params=["native", "overlayfs"])
async def snapshotter(request: pytest.FixtureRequest, stand: Stand) -> str:
    name: str = request.param
    if name not in (await stand.snapshots.snapshotters()).snapshotters:
        pytest.skip(
            f"{name} does not work here: it needs root and a kernel that has it"
        )
    return name


async def files(stand: Stand, chain_id: str, snapshotter: str) -> dict[str, bytes]:
    """What a container on this chain would see; an overlay is merged by hand."""
    mounts = await stand.snapshots.view(
        key=f"look-{snapshotter}",
        parent=chain_id,
        snapshotter=snapshotter,
        labels={"containerd.io/gc.root": "test"},
    )
    (mount,) = mounts.mounts
    roots = [mount.source]
    for option in mount.options:
        if option.startswith("lowerdir="):
            roots = option.removeprefix("lowerdir=").split(":")
    found: dict[str, bytes] = {}
    for root in map(Path, reversed(roots)):
        for path in sorted(root.rglob("*")):
            if path.is_char_device():
                found.pop(str(path.relative_to(root)), None)
            elif path.is_file():
                found[str(path.relative_to(root))] = path.read_bytes()
    await stand.snapshots.remove(key=f"look-{snapshotter}", snapshotter=snapshotter)
    return found


async def test_an_image_becomes_a_chain(stand: Stand, snapshotter: str) -> None:
    layout, target, chain = made()
    await stand.load(layout, target)
    unpacked, progress = await stand.run(snapshotter)
    assert (unpacked.chain_id, unpacked.snapshotter) == (chain[-1], snapshotter)
    assert (unpacked.layers, unpacked.skipped) == (3, 0)
    parent = ""
    for name in chain:
        info = await stand.snapshots.stat(key=name, snapshotter=snapshotter)
        assert (info.kind, info.parent) == ("committed", parent)
        parent = name
    assert await files(stand, chain[-1], snapshotter) == {
        "etc/hosts": b"one\n",
        "etc/motd": b"two\n",
        "bin/hello": LAYERS[2]["bin/hello"],
    }
    _, layers = parts(layout, target)
    done = [one.name for one in progress if one.event == "extracted"]
    assert done == [layer.digest for layer in layers]
    assert await stand.leftovers() == []


async def test_blobs_are_labelled_with_what_they_became(stand: Stand) -> None:
    layout, target, chain = made()
    await stand.load(layout, target)
    await stand.run("native")
    config, layers = parts(layout, target)
    labels = (await stand.content.info(digest=config.digest)).labels
    assert labels == {"containerd.io/gc.ref.snapshot.native": chain[-1]}
    labels = (await stand.content.info(digest=layers[0].digest)).labels
    assert labels == {"containerd.io/uncompressed": chain[0]}


async def test_a_second_unpack_finds_everything_done(stand: Stand) -> None:
    layout, target, chain = made()
    await stand.load(layout, target)
    await stand.run("native")
    before = await stand.snapshots.list(snapshotter="native")
    unpacked, progress = await stand.run("native")
    assert (unpacked.chain_id, unpacked.skipped) == (chain[-1], 3)
    assert {one.event for one in progress} == {"exists"}
    assert await stand.snapshots.list(snapshotter="native") == before


async def test_layers_shared_with_another_image_are_not_made_again(
    stand: Stand,
) -> None:
    layout, target, chain = made()
    await stand.load(layout, target)
    await stand.run("native")
    other = Layout()
    second = other.add_image([*LAYERS[:2], {"other": b"x"}])
    for digest, data in other.blobs.items():
        if digest not in layout.blobs:
            await stand.blob(data, digest)
    config, layers = parts(other, second)
    async with stand.unpack.begin(
        config=config, layers=layers, snapshotter="native"
    ) as unpacking:
        assert unpacking.skipped == 2
        unpacking.layer_ready(2)
        unpacked = await unpacking.finish()
    assert unpacked.chain_id not in chain
    info = await stand.snapshots.stat(key=unpacked.chain_id, snapshotter="native")
    assert info.parent == chain[1]


async def test_two_at_once_do_the_work_once(stand: Stand) -> None:
    layout, target, _ = made()
    await stand.load(layout, target)
    events: list[str] = []

    async def one() -> None:
        _, progress = await stand.run("native")
        events.extend(p.event for p in progress if p.event != "extracting")

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(one)
    assert sorted(events) == ["exists"] * 6 + ["extracted"] * 3
    assert await stand.leftovers() == []


async def test_the_chain_lives_as_long_as_the_image(stand: Stand) -> None:
    layout, target, chain = made()
    await stand.load(layout, target)
    await stand.run("native")
    await stand.gc.run(wait=True, full=True)
    for name in chain:
        await stand.snapshots.stat(key=name, snapshotter="native")
    await stand.images.delete(name=NAME, sync=True)
    for name in chain:
        with pytest.raises(NotFound):
            await stand.snapshots.stat(key=name, snapshotter="native")


async def test_nothing_of_a_chain_under_way_is_collected(stand: Stand) -> None:
    layout, target, chain = made()
    await stand.load(layout, target)
    config, layers = parts(layout, target)
    async with stand.unpack.begin(
        config=config, layers=layers, snapshotter="native"
    ) as unpacking:
        for index in range(3):
            unpacking.layer_ready(index)
            with trio.fail_after(20):
                while not await has(stand, chain[index]):
                    await trio.lowlevel.checkpoint()
            await stand.gc.run(wait=True, full=True)
        await unpacking.finish()
    assert await has(stand, chain[-1])


async def test_a_chain_that_was_there_is_held_as_well(stand: Stand) -> None:
    """Who begins from it may rely on it, whatever becomes of the image meanwhile."""
    layout, target, chain = made()
    await stand.load(layout, target)
    await stand.run("native")
    config, layers = parts(layout, target)
    async with stand.unpack.begin(
        config=config, layers=layers, snapshotter="native"
    ) as unpacking:
        assert (await unpacking.finish()).skipped == len(chain)
        await stand.images.delete(name=NAME, sync=True)
        await stand.gc.run(wait=True, full=True)
        assert await has(stand, chain[-1])
    await stand.gc.run(wait=True, full=True)
    assert not await has(stand, chain[-1])


async def has(stand: Stand, name: str, snapshotter: str = "native") -> bool:
    try:
        await stand.snapshots.stat(key=name, snapshotter=snapshotter)
    except NotFound:
        return False
    return True


async def test_layers_may_arrive_in_any_order(stand: Stand) -> None:
    layout, target, chain = made()
    config, layers = parts(layout, target)
    await stand.load(layout, target, without=[layer.digest for layer in layers])
    async with stand.unpack.begin(
        config=config, layers=layers, snapshotter="native"
    ) as unpacking:
        for index in (2, 0, 1):
            digest = layers[index].digest
            assert not await has(stand, chain[-1])
            await stand.blob(layout.blobs[digest], digest)
            unpacking.layer_ready(index)
        unpacked = await unpacking.finish()
    assert unpacked.chain_id == chain[-1]


async def test_a_failed_extraction_ends_the_downloads(stand: Stand) -> None:
    layout, target, _ = made()
    await stand.load(layout, target)
    config, layers = parts(layout, target)
    damaged = b"\x1f\x8b damaged, whatever it was"
    digest = f"sha256:{hashlib.sha256(damaged).hexdigest()}"
    await stand.blob(damaged, digest)
    layers[1] = descriptor(
        {"mediaType": f"{oci.OCI_LAYER}+gzip", "digest": digest, "size": 10}
    )
    with pytest.raises(InvalidArgument, match="damaged"):  # noqa: PT012
        async with stand.unpack.begin(
            config=config, layers=layers, snapshotter="native"
        ) as unpacking:
            unpacking.layer_ready(0)
            unpacking.layer_ready(1)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)  # a download
    assert await stand.leftovers() == []


async def test_a_failed_download_ends_the_extraction(stand: Stand) -> None:
    layout, target, chain = made()
    await stand.load(layout, target)
    config, layers = parts(layout, target)
    with pytest.raises(PluggdError, match="no such layer"):  # noqa: PT012
        async with stand.unpack.begin(config=config, layers=layers) as unpacking:
            unpacking.layer_ready(0)
            raise NotFound("no such layer")
    assert await stand.leftovers() == []
    assert not await has(stand, chain[-1])


async def test_a_layer_that_is_not_what_the_configuration_names_is_refused(
    stand: Stand,
) -> None:
    layout, target, chain = made()
    await stand.load(layout, target)
    config, layers = parts(layout, target)
    layers[1] = layers[0]
    with pytest.raises(FailedPrecondition, match="wrong diff id calculated"):  # noqa: PT012
        async with stand.unpack.begin(
            config=config, layers=layers, snapshotter="native"
        ) as unpacking:
            for index in range(3):
                unpacking.layer_ready(index)
            await unpacking.finish()
    assert await stand.leftovers() == []
    assert await has(stand, chain[0])  # what was right is kept for the next one
    assert not await has(stand, chain[1])


async def test_a_configuration_of_another_length_is_refused(stand: Stand) -> None:
    layout, target, _ = made()
    await stand.load(layout, target)
    config, layers = parts(layout, target)
    with pytest.raises(FailedPrecondition, match="mismatched image rootfs"):
        async with stand.unpack.begin(config=config, layers=layers[:2]):
            raise AssertionError


async def test_what_is_missing_is_named(stand: Stand) -> None:
    layout, target, _ = made()
    _, layers = parts(layout, target)
    await stand.load(layout, target, without=[layers[1].digest])
    with pytest.raises(NotFound, match=layers[1].digest):
        await stand.run("native")
    with pytest.raises(NotFound, match='image "nope": not found'):
        await stand.run("native", name="nope")
    with pytest.raises(InvalidArgument, match="bogus"):
        await stand.run("bogus")
    assert await stand.leftovers() == []


async def test_an_image_without_its_manifest_says_what_to_do(stand: Stand) -> None:
    layout, target, _ = made()
    await stand.load(layout, target)
    await stand.content.delete(digest=target["digest"])
    with pytest.raises(
        NotFound, match=r'incomplete image ".*pull it for this platform'
    ):
        await stand.run("native")


async def test_a_cancelled_unpack_leaves_nothing_behind(stand: Stand) -> None:
    layout = Layout()
    target = layout.add_image([{"zeros": bytes(64 << 20)}])
    await stand.load(layout, target)

    async def unpack() -> None:
        await stand.run("native")
        pytest.fail("it came to its end before it was cancelled")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(unpack)
        # What is extracted into is there as soon as that begins. Progress would not
        # do: of a fast extraction the first that is told may be its end.
        while not any("extract-" in one for one in await stand.leftovers()):
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    assert await stand.leftovers() == []
    unpacked, _ = await stand.run("native")
    assert unpacked.skipped == 0


async def test_an_image_without_layers_is_unpacked_to_nothing(stand: Stand) -> None:
    layout = Layout()
    target = layout.add_image([])
    await stand.load(layout, target)
    unpacked, _ = await stand.run("native")
    assert (unpacked.chain_id, unpacked.layers) == ("", 0)


async def test_what_is_no_container_image_is_refused(stand: Stand) -> None:
    layout = Layout()
    config = layout.add_blob(b"{}", oci.OCI_CONFIG)
    chart = layout.add_blob(b"chart", "application/vnd.cncf.helm.chart")
    target = layout.add_json(
        {"schemaVersion": 2, "config": config, "layers": [chart]}, oci.OCI_MANIFEST
    )
    await stand.load(layout, target)
    with pytest.raises(FailedPrecondition, match="helm"):
        await stand.run("native")


# --- check and usage


async def test_check_tells_what_is_here_and_where_it_is_unpacked(
    stand: Stand,
) -> None:
    layout, target, chain = made()
    config, layers = parts(layout, target)
    await stand.load(layout, target, without=[layers[2].digest])
    (state,) = (await stand.unpack.check()).images
    assert (state.name, state.status, state.required) == (NAME, "incomplete", 4)
    assert [one.digest for one in state.missing] == [layers[2].digest]
    assert state.size - state.present_size == layers[2].size
    assert (state.chain_id, state.unpacked) == (chain[-1], [])

    await stand.blob(layout.blobs[layers[2].digest], layers[2].digest)
    (state,) = (await stand.unpack.check(names=[NAME])).images
    assert (state.status, state.missing, state.unpacked) == ("complete", [], [])

    await stand.run("native")
    (state,) = (await stand.unpack.check()).images
    assert (state.status, state.unpacked) == ("complete", ["native"])

    await stand.content.delete(digest=config.digest)
    (state,) = (await stand.unpack.check()).images
    assert (state.status, state.chain_id) == ("incomplete", "")

    await stand.content.delete(digest=target["digest"])
    (state,) = (await stand.unpack.check()).images
    assert (state.status, state.required) == ("unavailable", 0)
    assert [one.digest for one in state.missing] == [target["digest"]]
    with pytest.raises(NotFound):
        await stand.unpack.check(names=["nope"])


async def test_check_takes_what_cannot_be_read_for_missing(tmp_path: Path) -> None:
    layout, target, chain = made()
    config, layers = parts(layout, target)
    blobs = tmp_path / "daemon/root/pluggd.content.v1.local/blobs/sha256"
    with trio.fail_after(60):
        async with standing(tmp_path, FILES) as stand:
            await stand.load(layout, target)
            (blobs / layers[0].digest[7:]).unlink()
            (state,) = (await stand.unpack.check()).images
            assert (state.status, state.chain_id) == ("incomplete", chain[-1])
            assert [one.digest for one in state.missing] == [layers[0].digest]

            broken = blobs / config.digest[7:]
            broken.chmod(0o644)
            broken.write_bytes(b"?" * config.size)
            with pytest.raises(DataLoss):
                await stand.content.verify(digest=config.digest)
            (state,) = (await stand.unpack.check()).images
            assert (state.status, state.chain_id) == ("incomplete", "")
            missing = [one.digest for one in state.missing]
            assert missing == [config.digest, layers[0].digest]


async def test_check_shows_what_is_wrong_with_an_image(stand: Stand) -> None:
    layout = Layout()
    target = layout.add_blob(b'{"manifests": []}', oci.OCI_MANIFEST)
    for digest, data in layout.blobs.items():
        await stand.blob(data, digest)
    await stand.images.create(image=Image(name=NAME, target=descriptor(target)))
    (state,) = (await stand.unpack.check()).images
    assert (state.status, state.unpacked) == ("error", [])
    assert "holds manifests" in state.error


async def test_usage_counts_blobs_and_snapshots_once(stand: Stand) -> None:
    layout = Layout()
    noise = os.urandom(100_000)
    target = layout.add_image([{"a": noise}, {"b": noise}, {"a": noise}])
    await stand.load(layout, target)
    usage = await stand.unpack.usage(name=NAME)
    assert usage.content == sum(map(len, layout.blobs.values()))
    assert usage.blobs == len(layout.blobs) == 4  # two layers are the same blob
    assert usage.snapshots == []
    await stand.run("native")
    usage = await stand.unpack.usage(name=NAME)
    assert [one.snapshotter for one in usage.snapshots] == ["native"] * 3
    assert all(one.size >= 100_000 and one.inodes >= 2 for one in usage.snapshots)
    with pytest.raises(NotFound):
        await stand.unpack.usage(name="nope")
