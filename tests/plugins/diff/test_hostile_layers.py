# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""A corpus of hostile layers: none writes, reads or removes anything outside its root.

Around the root lies a place that must be found as it was left, whatever becomes of the
layer: refused, or extracted to what its names mean below the root.
"""

from __future__ import annotations

import gzip
import os
import random
import tarfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from pluggd.errors import (
    InvalidArgument,
    PluggdError,
    ResourceExhausted,
)
from plugins.diff.work.zstd import ZstdCompressor
from tests.plugins.diff.layers import LIMITS, E, contents, d, extract, hard, layer, link

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="making devices needs root")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root in a place with a secret; the test fails when the place was touched."""
    place = tmp_path / "place"
    root = place / "snapshots" / "root"
    root.mkdir(parents=True)
    (place / "secret").write_text("secret")
    (place / "snapshots" / "neighbour").mkdir()
    (place / "snapshots" / "neighbour" / "file").write_text("theirs")
    return root


def untouched(root: Path) -> bool:
    place = root.parent.parent
    outside = {
        name: what
        for name, what in contents(place).items()
        if not name.startswith("snapshots/root/")
    }
    links = {os.lstat(path).st_nlink for path in place.rglob("*") if path.is_file()}
    return (
        outside
        == {
            "secret": b"secret",
            "snapshots": "dir",
            "snapshots/root": "dir",
            "snapshots/neighbour": "dir",
            "snapshots/neighbour/file": b"theirs",
        }
        and links <= {1, 2}
        and os.lstat(place / "secret").st_nlink == 1
        and not Path("/tmp/pluggd-hostile").exists()
    )


REFUSED: dict[str, tuple[Sequence[E], str]] = {
    "climbs": ([E("../secret", b"x")], "leads out of the layer"),
    "climbs later": ([E("a/../../secret", b"x")], "leads out of the layer"),
    "climbs by pax": ([E("a", b"x", pax={"path": "../../secret"})], "leads out"),
    "deletes above": ([E("../.wh.secret")], "leads out"),
    "deletes dot dot": ([E(".wh...")], "whiteout of no name"),
    "deletes dot": ([E("d/.wh..")], "whiteout of no name"),
    "deletes nothing": ([E(".wh.")], "whiteout of no name"),
    "below a whiteout": ([E(".wh.a/b", b"x")], "lies below the whiteout"),
    "hard link above": ([hard("l", "../../secret")], "leads out of the layer"),
    "hard link to an absolute path": (
        [hard("l", "/etc/passwd")],
        'hard link to "/etc/passwd", and there is no such file',
    ),
    "hard link through a link": (
        [link("up", "../.."), hard("l", "up/secret")],
        "no such file",
    ),
    "hard link to a directory": ([d("a"), hard("l", "a")], "the directory"),
    "hard link to itself": ([hard("l", "l")], "a hard link to itself"),
    "hard link to nothing": ([hard("l", "")], "no such file"),
    "below a file": ([E("a", b"x"), E("a/b", b"x")], '"a" is not a directory'),
    "the root as a file": ([E("./", b"x")], "replaces the root"),
    "the root as a link": ([link("/", "/etc")], "replaces the root"),
    "links in a circle": (
        [link("a", "b"), link("b", "a"), E("a/x", b"x")],
        "more than 40 symbolic links",
    ),
    "a link to itself": ([link("a", "a"), E("a/x", b"x")], "40 symbolic links"),
    "a name with NUL": ([E("a", b"x", pax={"path": "a\0b"})], "holds a NUL byte"),
    "a target with NUL": ([link("a", "b", pax={"linkpath": "b\0"})], "a NUL byte"),
    "a name too long": ([E("a" * 300, b"x")], "File name too long"),
    "a path too long": ([E("a/" * 2100 + "b", b"x")], "longer than 4096"),
    "a size of words": ([E("a", pax={"size": "many"})], "pax size"),
    "a negative size": ([E("a", pax={"size": "-1"})], "pax size"),
    "a size beyond all": ([E("a", pax={"size": "9" * 30})], "pax size"),
    "a size that is not there": ([E("a", pax={"size": "100000"})], "truncated"),
    "a negative owner": ([E("a", pax={"uid": "-1"})], "pax uid"),
    "the owner that means none": ([E("a", pax={"uid": str(2**32 - 1)})], "owner"),
    "a time of words": ([E("a", pax={"mtime": "now"})], "pax mtime"),
    "an unknown type": ([E("a", type=b"Z")], "the unknown type"),
    "the device that overlay deletes by": (
        [E("a", type=tarfile.CHRTYPE)],
        "by which overlay marks",
    ),
    "a device beyond all": (
        [E("a", type=tarfile.BLKTYPE, device=(1 << 20, 0))],
        "device number",
    ),
    "a sparse file of words": (
        [E("a", pax={"GNU.sparse.map": "0,x", "GNU.sparse.size": "4"})],
        'sparse file "a" has the number',
    ),
    "sparse data outside": (
        [E("a", b"x", pax={"GNU.sparse.map": "9,1", "GNU.sparse.size": "4"})],
        "lie outside of it",
    ),
    "sparse data that overlap": (
        [E("a", b"xy", pax={"GNU.sparse.map": "1,1,0,1", "GNU.sparse.size": "4"})],
        "overlap",
    ),
    "sparse data that are not there": (
        [E("a", b"", pax={"GNU.sparse.map": "0,4", "GNU.sparse.size": "4"})],
        "not its 0 bytes",
    ),
    "a sparse file without a map": (
        [E("a", pax={"GNU.sparse.size": "4"})],
        "has no map",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_layer_is_refused_and_the_entry_named(root: Path, case: str) -> None:
    entries, reason = REFUSED[case]
    with pytest.raises(InvalidArgument, match=reason):
        extract(layer(*entries), root)
    assert untouched(root)


ACCEPTED: dict[str, tuple[Sequence[E], dict[str, object]]] = {
    "absolute": ([E("/tmp/pluggd-hostile", b"x")], {"tmp/pluggd-hostile": b"x"}),
    "through an absolute link": (
        [link("out", "/tmp"), d("tmp"), E("out/pluggd-hostile", b"x")],
        {"tmp/pluggd-hostile": b"x", "out": "-> /tmp"},
    ),
    "through a link that climbs": (
        [link("up", "../../../../.."), E("up/secret", b"x")],
        {"secret": b"x"},
    ),
    "through links in steps": (
        [d("a"), link("a/b", ".."), link("c", "a/b/.."), E("c/secret", b"x")],
        {"secret": b"x"},
    ),
    "over a link": (
        [link("l", "../secret"), E("l", b"x")],
        {"l": b"x"},
    ),
    "a directory over a link": (
        [link("l", "../neighbour"), d("l"), E("l/file", b"x")],
        {"l": "dir", "l/file": b"x"},
    ),
    "a link over a directory": (
        [
            d("a"),
            E("a/b", b"1"),
            link("a", "../neighbour"),
            d("neighbour"),
            E("a/file", b"x"),
        ],
        {"neighbour/file": b"x", "a": "-> ../neighbour"},
    ),
    "a whiteout through a link": (
        [d("neighbour"), link("n", "../neighbour"), E("n/.wh.file")],
        {"neighbour": "dir"},
    ),
    "an opaque mark through a link": (
        [d("neighbour"), link("n", "/../neighbour"), E("n/.wh..wh..opq")],
        {"neighbour": "dir"},
    ),
    "a hard link to a link": (
        [link("l", "../../secret"), hard("h", "l"), E("h", b"x")],
        {"l": "-> ../../secret", "h": b"x"},
    ),
    "a hard link to a link that leads out": (
        [link("l", "../../secret"), hard("h", "l")],
        {"h": "-> ../../secret"},
    ),
    "through an absolute link that lies deeper": (
        [d("a"), link("a/abs", "/b"), d("b"), E("a/abs/f", b"x")],
        {"b/f": b"x", "a/abs": "-> /b"},
    ),
    "a hard link written through": (
        [E("a", b"1"), hard("b", "a"), E("b", b"2")],
        {"a": b"1", "b": b"2"},
    ),
    "a file over a directory": ([d("a/b"), E("a", b"x")], {"a": b"x"}),
    "a directory over a file": ([E("a", b"x"), d("a")], {"a": "dir"}),
    "a name twice": ([E("a", b"1"), E("a", b"2")], {"a": b"2"}),
    "a name in disguise": ([E("a", b"1"), E("./b/..//a", b"2")], {"a": b"2"}),
    "a name that is no UTF-8": ([E("\udcff\udcfe", b"x")], {"\udcff\udcfe": b"x"}),
    "the records of aufs": ([E(".wh..wh.plnk/1", b"x"), d(".wh..wh.orph")], {}),
    "an owner in its header alone": ([E("a", b"x", uid=0)], {"a": b"x"}),
}


@pytest.mark.parametrize("below", ["nothing", "something"])
@pytest.mark.parametrize("case", ACCEPTED)
def test_a_name_means_a_place_below_the_root(root: Path, case: str, below: str) -> None:
    # With something below, deletions are carried out and not skipped.
    if below == "something":
        (root / "older").write_text("older")
    entries, expected = ACCEPTED[case]
    extract(layer(*entries), root)
    assert untouched(root)
    found = contents(root)
    for name, what in expected.items():
        assert found.get(name) == what
    if below == "something":
        assert found.pop("older") == b"older"
    if not expected:
        assert not found


def test_links_of_an_earlier_layer_lead_nowhere_else(root: Path) -> None:
    extract(layer(link("out", "../.."), link("abs", str(root.parent.parent))), root)
    extract(layer(E("out/secret", b"x"), E("out/.wh.neighbour")), root)
    extract(layer(E("abs/secret", b"y"), E("abs/.wh..wh..opq")), root)
    assert untouched(root)
    assert (root / "secret").read_bytes() == b"x"


def test_an_opaque_root_spares_what_lies_around_it(root: Path) -> None:
    (root / "old").mkdir()
    (root / "old" / "link").symlink_to("../../neighbour")
    extract(layer(E(".wh..wh..opq"), E("new", b"x")), root)
    assert untouched(root)
    assert contents(root) == {"new": b"x"}


@pytest.mark.parametrize("cut", [1, 300, 512, 700, 1023, 1025, 1600])
def test_a_truncated_layer_is_refused(root: Path, cut: int) -> None:
    data = layer(E("a", b"x" * 700), E("b", b"y" * 100))[:cut]
    if cut == 512:
        data += b"x" * 100
    with pytest.raises(InvalidArgument, match="truncated"):
        extract(data, root)


@pytest.mark.parametrize("cut", [1212, 1300, 1536, 2048])
def test_padding_and_end_mark_may_be_missing(root: Path, cut: int) -> None:
    data = layer(E("a", b"x" * 700))[:cut]
    extract(data, root)
    assert contents(root) == {"a": b"x" * 700}


@pytest.mark.parametrize("cut", [1, 5, 20, 60, -1, -9])
def test_truncated_compressed_data_are_refused(root: Path, cut: int) -> None:
    data = gzip.compress(layer(E("a", os.urandom(3000))))[:cut]
    with pytest.raises(InvalidArgument, match="truncated"):
        extract(data, root, compression="gzip")


def test_damaged_compressed_data_are_refused(root: Path) -> None:
    data = bytearray(gzip.compress(layer(E("a", os.urandom(3000)))))
    data[-6] ^= 1
    with pytest.raises(InvalidArgument, match="damaged"):
        extract(bytes(data), root, compression="gzip")


def test_garbage_behind_compressed_data_is_refused(root: Path) -> None:
    data = gzip.compress(layer(E("a", b"x")))
    with pytest.raises(InvalidArgument, match="damaged"):
        extract(data + b"garbage", root, compression="gzip")


def test_garbage_behind_the_end_is_part_of_the_digest_and_of_nothing_else(
    root: Path,
) -> None:
    plain = layer(E("a", b"x"))
    first = extract(plain, root)
    second = extract(plain + layer(E("b", b"x")), root)
    assert contents(root) == {"a": b"x"}
    assert first["digest"] != second["digest"]
    assert second["size"] == 2 * first["size"]


def test_a_damaged_header_is_refused(root: Path) -> None:
    data = bytearray(layer(E("a", b"x")))
    data[100] ^= 1
    with pytest.raises(InvalidArgument, match="checksum is wrong"):
        extract(bytes(data), root)


def test_compressed_data_of_a_plain_type_are_refused(root: Path) -> None:
    with pytest.raises(InvalidArgument, match=r"invalid tar header.*are gzip"):
        extract(gzip.compress(layer(E("a", b"x"))), root)


def test_a_bomb_is_stopped_at_the_limit(root: Path) -> None:
    data = gzip.compress(layer(E("a", bytes(4 << 20))))
    assert len(data) < 20_000
    with pytest.raises(ResourceExhausted, match="max_layer_size"):
        extract(
            data, root, compression="gzip", limits={**LIMITS, "max_layer_size": 1 << 20}
        )
    assert (root / "a").stat().st_size <= 1 << 20


def test_a_bomb_behind_the_end_of_the_archive_is_stopped_too(root: Path) -> None:
    data = gzip.compress(layer(E("a", b"x")) + bytes(4 << 20))
    with pytest.raises(ResourceExhausted, match="max_layer_size"):
        extract(
            data, root, compression="gzip", limits={**LIMITS, "max_layer_size": 1 << 20}
        )


def test_a_claim_of_a_huge_sparse_file_is_refused_before_it_is_made(
    root: Path,
) -> None:
    claim = {"GNU.sparse.map": "", "GNU.sparse.size": str(1 << 50)}
    with pytest.raises(ResourceExhausted, match="sparse files"):
        extract(layer(E("a", pax=claim)), root)
    assert (root / "a").stat().st_size == 0


def test_too_many_entries_are_refused(root: Path) -> None:
    data = layer(*(E(f"{n}") for n in range(11)))
    with pytest.raises(ResourceExhausted, match="max_entries"):
        extract(data, root, limits={**LIMITS, "max_entries": 10})


def test_a_window_of_zstd_over_the_limit_is_refused(root: Path) -> None:
    compressor = ZstdCompressor(level=19)  # with a window of 8 MiB
    data = compressor.compress(layer(E("a", os.urandom(9 << 20)))) + compressor.flush()
    with pytest.raises(InvalidArgument, match="damaged"):
        extract(data, root, compression="zstd", limits={**LIMITS, "max_window": 20})
    extract(data, root, compression="zstd")


def test_an_extended_header_of_a_gigabyte_is_not_read(root: Path) -> None:
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 1 << 30
    with pytest.raises(ResourceExhausted, match="extended headers"):
        extract(info.tobuf()[:512] + bytes(4096), root)


def test_extended_headers_without_end_are_not_collected(root: Path) -> None:
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 12
    block = info.tobuf()[:512] + b"12 comment=\n".ljust(512, b"\0")
    with pytest.raises(ResourceExhausted, match="extended headers"):
        extract(block * 4000, root)


@pytest.mark.parametrize(
    "body", [b"5 a=b\n\n", b"x a=b\n", b"99 a=b\n", b"6 a b\n", b"-1 a=b\n", b"3 =\n"]
)
def test_a_malformed_extended_header_is_refused(root: Path, body: bytes) -> None:
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, len(body)
    data = info.tobuf()[:512] + body.ljust(512, b"\0") + layer(E("a", b"x"))
    with pytest.raises(InvalidArgument, match="malformed pax"):
        extract(data, root)


def test_a_global_header_changes_no_name(root: Path) -> None:
    record = b"19 path=../secret!\n"
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XGLTYPE, len(record)
    extract(info.tobuf()[:512] + record.ljust(512, b"\0") + layer(E("a", b"x")), root)
    assert contents(root) == {"a": b"x"}


@needs_root
def test_attributes_by_which_overlay_is_led_are_dropped(root: Path) -> None:
    pax = {
        "SCHILY.xattr.trusted.overlay.redirect": "/secret",
        "SCHILY.xattr.user.overlay.opaque": "y",
        "SCHILY.xattr.user.kept": "yes",
    }
    extract(layer(d("a", pax=pax)), root)
    assert os.listxattr(root / "a") == ["user.kept"]


def test_very_deep_directories_are_made_and_removed(root: Path) -> None:
    deep = "/".join(["d"] * 1900)
    extract(layer(E(f"{deep}/file", b"x")), root)
    assert (root / deep / "file").read_bytes() == b"x"
    extract(layer(E(".wh.d")), root)
    assert os.listdir(root) == []


def test_many_names_take_no_memory_each(root: Path) -> None:
    count = 3000
    extract(layer(*(E(f"{n % 50}/{n}") for n in range(count))), root)
    assert sum(len(os.listdir(one)) for one in root.iterdir()) == count


@pytest.mark.parametrize("seed", range(40))
def test_damage_anywhere_is_an_error_or_nothing(root: Path, seed: int) -> None:
    chance = random.Random(seed)
    data = bytearray(
        layer(
            d("a"),
            E("a/b", b"x" * 600, pax={"path": "a/long"}),
            link("l", "../.."),
            hard("h", "a/long"),
            E("l/f", b"y"),
        )
    )
    for _ in range(chance.randint(1, 8)):
        data[chance.randrange(len(data))] = chance.randrange(256)
    with suppress(PluggdError):
        extract(bytes(data), root)
    assert untouched(root)
