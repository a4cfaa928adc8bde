# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""A layer that is made of two trees turns the one into the other."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import socket
import tarfile
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

import pytest
import trio

from pluggd.errors import InvalidArgument, NotFound, NotImplemented_
from pluggd.model.types import Descriptor, Mount
from pluggd.services import call
from pluggd.services.diff import Applying
from tests.plugins.diff.layers import E, d, extract, hard, layer, link, tree
from tests.plugins.unpack.unpack_setup import Stand, standing

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: owners, devices")

PLAIN = "application/vnd.oci.image.layer.v1.tar"


@pytest.fixture
async def stand(tmp_path: Path) -> AsyncGenerator[Stand]:
    with trio.fail_after(60):
        async with standing(tmp_path) as stand:
            # What is made is kept by nothing else, and collections go on.
            lease = (await stand.leases.create()).id
            with call.using(lease=lease):
                yield stand


def bind(path: Path, mode: str = "rw") -> list[Mount]:
    return [Mount(type="bind", source=str(path), options=["rbind", mode])]


async def apply(stand: Stand, diff: Descriptor, mounts: Sequence[Mount]) -> Descriptor:
    send, _receive = trio.open_memory_channel[Applying](float("inf"))
    return await stand.diff.apply(diff=diff, mounts=mounts, progress=send)


def before(root: Path) -> Path:
    extract(
        layer(
            d("dir", mode=0o750),
            E("dir/same", b"same"),
            E("dir/changed", b"old"),
            E("dir/longer", b"old"),
            E("dir/gone", b"gone"),
            d("deleted"),
            E("deleted/file", b"x"),
            E("mode", b"m"),
            E("kind", b"k"),
            link("link", "old"),
            E("one", b"linked"),
            hard("two", "one"),
        ),
        root,
    )
    return root


def after(root: Path) -> Path:
    """What `before` made, changed in every way."""
    (root / "dir/changed").write_bytes(b"new")
    os.utime(root / "dir/changed", (10**9, 10**9))  # of the same size and time
    (root / "dir/longer").write_bytes(b"new and longer")
    (root / "dir/gone").unlink()
    shutil.rmtree(root / "deleted")
    (root / "mode").chmod(0o4711)
    (root / "kind").unlink()
    (root / "kind").mkdir()
    (root / "kind/inside").write_bytes(b"i")
    (root / "link").unlink()
    (root / "link").symlink_to("new")
    os.link(root / "one", root / "three")
    (root / "attributes").write_bytes(b"")
    os.setxattr(root / "attributes", "user.key", b"value\x00\xff")
    deep = root / ("long" * 30) / ("name" * 40)
    deep.mkdir(parents=True)
    (deep / "grüße").write_bytes(os.urandom(700_000))
    os.close(os.open(os.fsencode(root) + b"/\xff\xfe", os.O_CREAT | os.O_WRONLY))
    if os.geteuid() == 0:
        os.mknod(root / "device", 0o20640, os.makedev(1, 3))
        os.chown(root / "attributes", 1234, 5_000_000)
    os.mkfifo(root / "fifo")
    with (root / "sparse").open("wb") as file:
        file.truncate(2 << 20)
    for name in root.rglob("*"):
        seconds = os.lstat(name).st_mtime_ns // 10**9
        os.utime(name, (seconds, seconds), follow_symlinks=False)
    return root


@pytest.mark.parametrize("suffix", ["", "+gzip", "+zstd"])
async def test_the_layer_turns_the_lower_tree_into_the_upper_one(
    stand: Stand, tmp_path: Path, suffix: str
) -> None:
    lower, upper = before(tmp_path / "lower"), after(before(tmp_path / "upper"))
    made = await stand.diff.create(
        lower=bind(lower, "ro"), upper=bind(upper), media_type=PLAIN + suffix
    )
    assert made.media_type == PLAIN + suffix
    info = await stand.content.info(digest=made.digest)
    assert info.size == made.size
    applied = await apply(stand, made, bind(lower))
    assert info.labels == {"containerd.io/uncompressed": applied.digest}
    assert applied.media_type == PLAIN
    found, wanted = tree(lower), tree(upper)
    # The times of directories are those of their last change, which is not compared.
    for one in (found, wanted):
        one.pop(".")
    assert found == wanted


async def test_the_same_trees_give_the_same_bytes(stand: Stand, tmp_path: Path) -> None:
    lower, upper = before(tmp_path / "lower"), after(before(tmp_path / "upper"))
    first = await stand.diff.create(lower=bind(lower), upper=bind(upper))
    again = await stand.diff.create(
        lower=bind(lower), upper=bind(upper), labels={"more": "labels"}
    )
    assert first == again
    labels = (await stand.content.info(digest=first.digest)).labels
    assert labels["more"] == "labels"
    assert (await stand.content.list_statuses()).statuses == []


async def entries(stand: Stand, made: Descriptor) -> dict[str, tarfile.TarInfo]:
    data = (await stand.content.read(digest=made.digest)).data
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {entry.name: entry for entry in tar}


async def test_what_is_the_same_is_not_in_the_layer(
    stand: Stand, tmp_path: Path
) -> None:
    lower, upper = before(tmp_path / "lower"), before(tmp_path / "upper")
    made = await stand.diff.create(lower=bind(lower), upper=bind(upper))
    assert await entries(stand, made) == {}
    (upper / "dir/gone").unlink()
    made = await stand.diff.create(lower=bind(lower), upper=bind(upper))
    found = await entries(stand, made)
    assert list(found) == ["dir", "dir/.wh.gone"]
    assert found["dir"].mode == 0o750
    assert found["dir/.wh.gone"].mtime == 0


async def test_all_names_of_a_changed_file_are_in_the_layer(
    stand: Stand, tmp_path: Path
) -> None:
    lower, upper = before(tmp_path / "lower"), before(tmp_path / "upper")
    os.link(upper / "one", upper / "three")
    made = await stand.diff.create(lower=bind(lower), upper=bind(upper))
    found = await entries(stand, made)
    assert list(found) == ["one", "three", "two"]
    assert [found[name].linkname for name in found] == ["", "one", "one"]


async def test_sockets_are_left_out(stand: Stand, tmp_path: Path) -> None:
    upper = tmp_path / "upper"
    upper.mkdir()
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(upper / "socket"))
    made = await stand.diff.create(lower=[], upper=bind(upper))
    assert await entries(stand, made) == {}


async def test_a_name_that_would_mean_a_deletion_is_refused(
    stand: Stand, tmp_path: Path
) -> None:
    upper = tmp_path / "upper"
    upper.mkdir()
    (upper / ".wh.name").write_text("")
    with pytest.raises(InvalidArgument, match=r"\.wh\.name"):
        await stand.diff.create(lower=[], upper=bind(upper))
    assert (await stand.content.list_statuses()).statuses == []


async def test_what_cannot_be_made_is_said(stand: Stand, tmp_path: Path) -> None:
    docker = "application/vnd.docker.image.rootfs.diff.tar.gzip"
    with pytest.raises(NotImplemented_, match=docker):
        await stand.diff.create(lower=[], upper=bind(tmp_path), media_type=docker)
    with pytest.raises(NotFound, match="nowhere"):
        await stand.diff.create(lower=[], upper=bind(tmp_path / "nowhere"))


# --- apply, over the service


async def test_apply_says_what_it_was_given_wrongly(
    stand: Stand, tmp_path: Path
) -> None:
    data = layer(E("a", b"x"))
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    await stand.blob(data, digest)
    diff = Descriptor(media_type=PLAIN, digest=digest, size=len(data))
    with pytest.raises(InvalidArgument, match="there are none"):
        await apply(stand, diff, [])
    with pytest.raises(InvalidArgument, match="read-only"):
        await apply(stand, diff, bind(tmp_path, "ro"))
    with pytest.raises(NotFound, match="nowhere"):
        await apply(stand, diff, bind(tmp_path / "nowhere"))
    absent = Descriptor(media_type=PLAIN, digest="sha256:" + "0" * 64, size=1)
    with pytest.raises(NotFound, match="0000"):
        await apply(stand, absent, bind(tmp_path))
    other = Descriptor(media_type="text/plain", digest=digest, size=len(data))
    with pytest.raises(NotImplemented_, match='no processor for media-type "text'):
        await apply(stand, other, bind(tmp_path))
    root = tmp_path / "root"
    root.mkdir()
    applied = await apply(stand, diff, bind(root))
    assert applied == Descriptor(media_type=PLAIN, digest=digest, size=len(data))
    assert (root / "a").read_bytes() == b"x"


@needs_root
async def test_an_overlay_is_compared_as_it_is_mounted(
    stand: Stand, tmp_path: Path
) -> None:
    roots = [tmp_path / name for name in ("below", "upper", "work")]
    for root in roots:
        root.mkdir()
    before(roots[0])
    extract(layer(E("new", b"n"), E("dir/.wh.gone")), roots[1], lowers=[roots[0]])
    options = [f"lowerdir={roots[0]}", f"upperdir={roots[1]}", f"workdir={roots[2]}"]
    mounts = [Mount(type="overlay", source="overlay", options=options)]
    made = await stand.diff.create(lower=bind(roots[0]), upper=mounts)
    found = await entries(stand, made)
    assert set(found) == {"dir", "dir/.wh.gone", "new"}
