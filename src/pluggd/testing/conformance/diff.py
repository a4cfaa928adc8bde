# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The rules of `pluggd.diff.v1`."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import shutil
import tarfile
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
import trio

from pluggd.errors import InvalidArgument, NotFound, NotImplemented_
from pluggd.model.oci import OCI_LAYER
from pluggd.model.types import Descriptor, Mount
from pluggd.services.call import using
from pluggd.services.content import Content
from pluggd.services.diff import Applying, Diff
from pluggd.services.metadata import Metadata
from pluggd.testing.conformance.base import Conformance, missing, needs
from pluggd.testing.fake_content import fake_content

UNCOMPRESSED = "containerd.io/uncompressed"


def entry(
    name: str, data: bytes = b"", mode: int = 0o644
) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = len(data), mode, 10**9
    info.uid, info.gid = os.geteuid(), os.getegid()
    if name.endswith("/"):
        info.type, info.mode = tarfile.DIRTYPE, 0o755
    return info, data


def link(
    name: str, target: str, type_: bytes = tarfile.SYMTYPE
) -> tuple[tarfile.TarInfo, bytes]:
    info, _ = entry(name)
    info.type, info.linkname = type_, target
    return info, b""


def layer(*entries: tuple[tarfile.TarInfo, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for info, data in entries:
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def bind(path: Path, mode: str = "rw") -> list[Mount]:
    return [Mount(type="bind", source=str(path), options=["rbind", mode])]


def tree(root: Path) -> dict[str, object]:
    """What is below a directory: mode and text of files, targets of links."""
    found: dict[str, object] = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if path.is_symlink():
            found[name] = f"-> {os.readlink(path)}"
        elif path.is_dir():
            found[name] = "directory"
        else:
            found[name] = (oct(path.stat().st_mode & 0o7777), path.read_bytes())
    return found


def grow(root: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@dataclass
class DiffStand:
    """A provider, and the content store from which it reads and to which it writes."""

    diff: Diff
    content: Content

    async def stored(self, data: bytes, media_type: str = OCI_LAYER) -> Descriptor:
        digest = digest_of(data)
        await self.content.write(ref=digest, action="commit", data=data)
        return Descriptor(media_type=media_type, digest=digest, size=len(data))

    async def apply(
        self, diff: Descriptor, root: Path, seen: list[Applying] | None = None
    ) -> Descriptor:
        send, receive = trio.open_memory_channel[Applying](float("inf"))
        async with send, receive:
            applied = await self.diff.apply(diff=diff, mounts=bind(root), progress=send)
            while seen is not None and receive.statistics().current_buffer_used:
                seen.append(receive.receive_nowait())
        return applied


class DiffConformance(Conformance):
    """What every provider of `pluggd.diff.v1` promises.

    Provide the fixture `diff`, over the fixture `content`.
    """

    optional: ClassVar[Mapping[str, str]] = {
        **Conformance.optional,
        "gzip": "layers may be compressed with gzip",
        "create": "layers are made, not only applied",
    }

    @pytest.fixture
    def diff(self) -> Diff:
        """The provider. Yours to override."""
        missing(type(self), "diff")

    @pytest.fixture
    async def content(self, metadata: Metadata) -> AsyncGenerator[Content]:
        """An empty content store, in memory, for the provider to stand on."""
        async with fake_content(metadata) as content:
            yield content

    @pytest.fixture
    def stand(self, diff: Diff, content: Content) -> DiffStand:
        return DiffStand(diff, content)

    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        """An empty directory to extract into."""
        path = tmp_path / "extracted"
        path.mkdir()
        return path

    @pytest.fixture(autouse=True)
    def _in_namespace(self) -> Iterator[None]:
        with using(namespace="default"):
            yield

    # --- apply

    async def test_what_a_layer_says_is_on_the_disk(
        self, stand: DiffStand, root: Path
    ) -> None:
        given = layer(
            entry("dir/"),
            entry("dir/file", b"text", 0o751),
            link("dir/symbolic", "/etc/passwd"),
            link("hard", "dir/file", tarfile.LNKTYPE),
        )
        await stand.apply(await stand.stored(given), root)
        assert tree(root) == {
            "dir": "directory",
            "dir/file": ("0o751", b"text"),
            "dir/symbolic": "-> /etc/passwd",
            "hard": ("0o751", b"text"),
        }
        assert (root / "hard").stat().st_ino == (root / "dir/file").stat().st_ino
        assert (root / "dir/file").stat().st_mtime == 10**9

    async def test_the_descriptor_of_the_plain_layer_is_returned(
        self, stand: DiffStand, root: Path
    ) -> None:
        given = layer(entry("a", b"x"))
        plain = Descriptor(
            media_type=OCI_LAYER, digest=digest_of(given), size=len(given)
        )
        assert await stand.apply(await stand.stored(given), root) == plain

    @needs("gzip")
    async def test_a_compressed_layer_has_the_digest_of_the_plain_one(
        self, stand: DiffStand, root: Path
    ) -> None:
        given = layer(entry("a", b"x" * 10_000))
        diff = await stand.stored(gzip.compress(given), f"{OCI_LAYER}+gzip")
        applied = await stand.apply(diff, root)
        assert applied.digest == digest_of(given)
        assert (root / "a").read_bytes() == b"x" * 10_000

    async def test_a_layer_deletes_what_it_says(
        self, stand: DiffStand, root: Path
    ) -> None:
        below = {"dir/gone": "1", "dir/stays": "2", "opaque/old": "3", "tree/x/y": "4"}
        grow(root, below)
        given = layer(
            entry("dir/.wh.gone"),
            entry("opaque/"),
            entry("opaque/.wh..wh..opq"),
            entry("opaque/new", b"n"),
            entry(".wh.tree"),
        )
        await stand.apply(await stand.stored(given), root)
        files = {name for name, what in tree(root).items() if what != "directory"}
        assert files == {"dir/stays", "opaque/new"}

    @pytest.mark.parametrize("name", ["../outside", "a/../../outside"])
    async def test_nothing_is_written_outside_of_the_mounts(
        self, stand: DiffStand, root: Path, name: str
    ) -> None:
        diff = await stand.stored(layer(entry(name, b"evil")))
        before = sorted(root.parent.iterdir())
        with suppress(InvalidArgument):  # or it is put below the root
            await stand.apply(diff, root)
        assert sorted(root.parent.iterdir()) == before

    async def test_links_do_not_lead_outside(
        self, stand: DiffStand, root: Path, tmp_path: Path
    ) -> None:
        outside = grow(tmp_path / "outside", {"file": "mine"})
        given = layer(
            link("way", str(outside)),
            entry("way/file", b"evil"),
            link("relative", "../outside"),
            entry("relative/other", b"evil"),
        )
        with suppress(InvalidArgument):  # or the link is taken to lead below the root
            await stand.apply(await stand.stored(given), root)
        assert tree(outside) == {"file": ("0o644", b"mine")}

    async def test_a_damaged_layer_is_refused(
        self, stand: DiffStand, root: Path
    ) -> None:
        given = bytearray(layer(entry("a", b"x" * 2000), entry("b", b"y")))
        given[148:156] = b"7777777\0"  # the checksum of the first header
        with pytest.raises(InvalidArgument):
            await stand.apply(await stand.stored(bytes(given)), root)
        cut = layer(entry("c", b"x" * 5000))[:2000]
        with pytest.raises(InvalidArgument):
            await stand.apply(await stand.stored(cut), root)

    async def test_a_blob_or_type_that_nobody_knows_is_named(
        self, stand: DiffStand, root: Path
    ) -> None:
        absent = Descriptor(media_type=OCI_LAYER, digest=digest_of(b""), size=0)
        with pytest.raises(NotFound, match=absent.digest):
            await stand.apply(absent, root)
        text = await stand.stored(b"text", "text/plain")
        with pytest.raises(NotImplemented_, match="text/plain"):
            await stand.apply(text, root)

    async def test_mounts_that_cannot_be_written_are_refused(
        self, stand: DiffStand, root: Path
    ) -> None:
        diff = await stand.stored(layer(entry("a")))
        send, _ = trio.open_memory_channel[Applying](float("inf"))
        for mounts in ([], bind(root, "ro")):
            with pytest.raises(InvalidArgument):
                await stand.diff.apply(diff=diff, mounts=mounts, progress=send)
        assert tree(root) == {}

    async def test_progress_only_grows(self, stand: DiffStand, root: Path) -> None:
        given = layer(*(entry(f"f{n}", b"x" * 9999) for n in range(50)))
        seen: list[Applying] = []
        await stand.apply(await stand.stored(given), root, seen)
        reads = [one.read for one in seen]
        assert reads == sorted(reads)
        assert all(one.read <= one.total == len(given) for one in seen)

    # --- create

    @needs("create")
    async def test_a_layer_turns_the_lower_tree_into_the_upper_one(
        self, stand: DiffStand, tmp_path: Path
    ) -> None:
        files = {"same": "1", "changed": "old", "gone": "x", "dir/gone": "x"}
        lower = grow(tmp_path / "lower", files)
        upper = tmp_path / "upper"
        shutil.copytree(lower, upper)
        grow(upper, {"changed": "new", "fresh/file": "f"})
        (upper / "gone").unlink()
        shutil.rmtree(upper / "dir")
        (upper / "link").symlink_to("same")
        made = await stand.diff.create(
            lower=bind(lower, "ro"), upper=bind(upper), media_type=OCI_LAYER
        )
        assert made.media_type == OCI_LAYER
        await stand.apply(made, lower)
        assert tree(lower) == tree(upper)

    @needs("create")
    async def test_the_same_trees_give_the_same_layer(
        self, stand: DiffStand, tmp_path: Path
    ) -> None:
        upper = grow(tmp_path / "upper", {"a": "1", "b/c": "2"})
        make = stand.diff.create
        first = await make(lower=[], upper=bind(upper), media_type=OCI_LAYER)
        again = await make(lower=[], upper=bind(upper), media_type=OCI_LAYER)
        assert first == again

    @needs("create")
    async def test_what_is_the_same_is_not_in_the_layer(
        self, stand: DiffStand, tmp_path: Path
    ) -> None:
        lower = grow(tmp_path / "lower", {"a": "1", "b/c": "2"})
        upper = tmp_path / "upper"
        shutil.copytree(lower, upper)
        made = await stand.diff.create(
            lower=bind(lower), upper=bind(upper), media_type=OCI_LAYER
        )
        data = (await stand.content.read(digest=made.digest)).data
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            assert tar.getnames() == []

    @needs("create")
    async def test_a_layer_that_is_made_is_a_blob_that_knows_its_diff_id(
        self, stand: DiffStand, tmp_path: Path
    ) -> None:
        upper = grow(tmp_path / "upper", {"a": "1"})
        made = await stand.diff.create(
            lower=[], upper=bind(upper), media_type=OCI_LAYER, labels={"k": "v"}
        )
        info = await stand.content.info(digest=made.digest)
        assert info.size == made.size
        assert info.labels == {"k": "v", UNCOMPRESSED: made.digest}
        assert (await stand.content.list_statuses()).statuses == []

    @needs("create")
    async def test_a_type_that_cannot_be_made_is_refused(
        self, stand: DiffStand, root: Path
    ) -> None:
        with pytest.raises(NotImplemented_, match="text/plain"):
            await stand.diff.create(lower=[], upper=bind(root), media_type="text/plain")
