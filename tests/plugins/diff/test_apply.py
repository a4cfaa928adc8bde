# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Honest layers: what is in the archive is on the disk, on any snapshotter alike."""

from __future__ import annotations

import gzip
import os
import random
import shutil
import stat
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from pluggd.errors import PermissionDenied
from pluggd.model.types import Mount
from pluggd.mount import mounted
from plugins.diff.work.zstd import ZstdCompressor
from tests.plugins.diff.layers import (
    E,
    contents,
    d,
    extract,
    hard,
    layer,
    link,
    tree,
)

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: owners, devices")


@needs_root
def test_everything_that_an_entry_says_is_on_the_disk(tmp_path: Path) -> None:
    data = layer(
        d("./", mode=0o750, mtime=5),
        d("etc", mode=0o1777, mtime=6.5),
        E("etc/setuid", b"x" * 700, mode=0o4755, uid=12, gid=3_000_000, mtime=-7),
        E("etc/attributes", b"", pax={"SCHILY.xattr.user.key": "wert"}),
        link("etc/link", "nowhere/at/all"),
        hard("etc/again", "etc/setuid"),
        E("etc/fifo", type=tarfile.FIFOTYPE, mode=0o600, mtime=9),
        E("etc/null", type=tarfile.CHRTYPE, device=(1, 3), mode=0o666, uid=1),
        E("implied/parents/file", b"y"),
        E("n" * 255, b"long"),
        E("/".join(["deep" * 20] * 6), b"split"),
        E("grüße", b"utf-8"),
    )
    extract(data, tmp_path / "root")
    root = tmp_path / "root"
    found = tree(root)
    second = 10**9
    assert found["."][:3] == (oct(stat.S_IFDIR | 0o750), (0, 0), 5 * second)
    assert found["./etc"][:3] == (oct(stat.S_IFDIR | 0o1777), (0, 0), 6_500_000_000)
    setuid = found["./etc/setuid"]
    assert setuid[:3] == (oct(stat.S_IFREG | 0o4755), (12, 3_000_000), -7 * second)
    assert setuid == found["./etc/again"]
    assert setuid[-1] == ["./etc/again", "./etc/setuid"]
    assert found["./etc/attributes"][4] == {"user.key": b"wert"}
    assert found["./etc/link"][3] == b"nowhere/at/all"
    assert found["./etc/link"][2] == second * second
    assert found["./etc/fifo"][0] == oct(stat.S_IFIFO | 0o600)
    assert found["./etc/null"][:2] == (oct(stat.S_IFCHR | 0o666), (1, 0))
    assert found["./etc/null"][3] == os.makedev(1, 3)
    assert found["./implied"][0] == oct(stat.S_IFDIR | 0o755)
    assert (root / ("n" * 255)).read_bytes() == b"long"
    assert (root / "/".join(["deep" * 20] * 6)).read_bytes() == b"split"
    assert (root / "grüße").read_bytes() == b"utf-8"


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd", "sniff"])
def test_every_compression_gives_the_same_digest(
    tmp_path: Path, compression: str
) -> None:
    data = layer(E("a", os.urandom(3 << 20)), E("b", bytes(2 << 20)))
    stored = {
        "none": data,
        "gzip": gzip.compress(data),
        "sniff": gzip.compress(data),
        "zstd": (c := ZstdCompressor()).compress(data) + c.flush(),
    }[compression]
    done = extract(stored, tmp_path / "root", compression=compression)
    plain = extract(data, tmp_path / "plain")
    assert (done["digest"], done["size"]) == (plain["digest"], len(data))
    assert tree(tmp_path / "root", times=False) == tree(tmp_path / "plain", times=False)


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_data_in_many_members_are_one_layer(tmp_path: Path, compression: str) -> None:
    data = layer(*(E(f"{n}", os.urandom(900)) for n in range(300)))

    def packed(piece: bytes) -> bytes:
        if compression == "gzip":
            return gzip.compress(piece)
        compressor = ZstdCompressor()
        return compressor.compress(piece) + compressor.flush()

    pieces = [packed(data[i : i + 1000]) for i in range(0, len(data), 1000)]
    if compression == "zstd":  # as podman writes its table of contents
        pieces.append(b"\x50\x2a\x4d\x18" + (8).to_bytes(4, "little") + b"skipped!")
    done = extract(b"".join(pieces), tmp_path / "root", compression=compression)
    assert done["size"] == len(data)
    assert len(contents(tmp_path / "root")) == 300


@pytest.mark.skipif(not shutil.which("tar"), reason="needs GNU tar")
@pytest.mark.parametrize(
    "format",
    ["gnu", "posix", "--sparse-version=0.0", "--sparse-version=0.1"],
)
def test_sparse_files_of_gnu_tar_stay_sparse(tmp_path: Path, format: str) -> None:
    source = tmp_path / "source"
    source.mkdir()
    with (source / "sparse").open("wb") as file:
        for at in range(0, 40 << 20, 1 << 20):
            file.seek(at)
            file.write(os.urandom(4096))
        file.truncate(50 << 20)
    with (source / "hole").open("wb") as file:
        file.truncate(10 << 20)
    options = [f"--format={format}"]
    if format.startswith("--"):
        options = ["--format=posix", format]
    data = subprocess.run(
        ["tar", "-C", source, "--sparse", *options, "-cf", "-", "sparse", "hole"],
        check=True,
        capture_output=True,
    ).stdout
    assert len(data) < 1 << 20
    extract(data, tmp_path / "root")
    for name in ("sparse", "hole"):
        made, wanted = tmp_path / "root" / name, source / name
        assert made.read_bytes() == wanted.read_bytes()
        assert made.stat().st_blocks * 512 < 1 << 20


# --- whiteouts, on top of other layers

BELOW = (
    d("dir", mode=0o700, mtime=100),
    E("dir/old", b"old"),
    E("dir/other", b"other"),
    d("dir/sub", mtime=200),
    E("dir/sub/file", b"sub"),
    E("file", b"file"),
    link("link", "dir/sub"),
    E("gone", b"gone"),
)

ABOVE: dict[str, tuple[Sequence[E], dict[str, object]]] = {
    "a file": ([E(".wh.file")], {"file": None, "gone": b"gone"}),
    "a directory": ([E(".wh.dir")], {"dir": None, "dir/sub/file": None}),
    "a link": ([E(".wh.link")], {"link": None, "dir/sub/file": b"sub"}),
    "nothing": ([E(".wh.nothing")], {"file": b"file"}),
    "in a directory that is not mentioned": (
        [E("dir/.wh.old")],
        {"dir/old": None, "dir/other": b"other"},
    ),
    "in a directory that is not there": ([E("x/y/.wh.z")], {"file": b"file"}),
    "behind a link": ([E("link/.wh.file")], {"dir/sub/file": None, "dir/sub": "dir"}),
    "all of a directory": (
        [d("dir"), E("dir/.wh..wh..opq"), E("dir/new", b"new")],
        {"dir/old": None, "dir/sub": None, "dir/new": b"new"},
    ),
    "all of a directory, said last": (
        [d("dir"), E("dir/new", b"new"), d("dir/sub"), E("dir/sub/new", b"new"),
         E("dir/.wh..wh..opq")],
        {"dir/old": None, "dir/sub/file": None, "dir/sub/new": b"new"},
    ),
    "all of it": (
        [E(".wh..wh..opq"), E("new", b"new"), d("dir"), E("dir/new", b"new")],
        {"file": None, "dir/old": None, "dir/new": b"new", "new": b"new"},
    ),
    "a file that is replaced": ([E(".wh.file"), E("file", b"new")], {"file": b"new"}),
    "a file that was replaced": ([E("file", b"new"), E(".wh.file")], {"file": b"new"}),
    "a directory that is replaced": (
        [E(".wh.dir"), d("dir"), E("dir/new", b"new")],
        {"dir/old": None, "dir/new": b"new"},
    ),
    "a directory that was replaced": (
        [d("dir"), E("dir/new", b"new"), E(".wh.dir")],
        {"dir/old": None, "dir/new": b"new"},
    ),
    "a directory that comes again unmentioned": (
        [E(".wh.dir"), E("dir/new", b"new")],
        {"dir/old": None, "dir/new": b"new"},
    ),
    "a file by a directory": ([d("file"), E("file/x", b"x")], {"file/x": b"x"}),
    "a directory by a file": ([E("dir", b"x")], {"dir": b"x", "dir/old": None}),
    "a directory by a file and a directory": (
        [E("dir", b"x"), d("dir"), E("dir/x", b"x")],
        {"dir/x": b"x", "dir/old": None},
    ),
    "a link by a directory": (
        [d("link"), E("link/x", b"x")],
        {"link/x": b"x", "dir/sub/x": None},
    ),
    "through a link of below": ([E("link/x", b"x")], {"dir/sub/x": b"x"}),
    "a hard link to a file of below": (
        [hard("again", "dir/old")],
        {"again": b"old", "dir/old": b"old"},
    ),
    "a directory merged": (
        [d("dir", mode=0o711), E("dir/new", b"new")],
        {"dir/old": b"old", "dir/new": b"new"},
    ),
}  # fmt: skip


def overlay(path: str, lowers: Sequence[Path], **options: Path) -> Mount:
    words = [f"{key}={value}" for key, value in options.items()]
    words.append("lowerdir=" + ":".join(map(str, lowers)))
    return Mount(type="overlay", source="overlay", options=words)


def stacked(place: Path, layers: Sequence[bytes], stack: ExitStack) -> Path:
    """Layers, each in an overlay's upper directory, seen through the mounted overlay."""
    place.mkdir()
    lowers: list[Path] = []
    for number, data in enumerate(layers):
        upper = place / str(number)
        upper.mkdir(mode=0o755)
        extract(data, upper, lowers=lowers or None)
        lowers.insert(0, upper)
    if len(lowers) == 1:
        return lowers[0]
    mount = overlay("", lowers)
    return Path(stack.enter_context(mounted([mount], reading=True)))


def onto(place: Path, layers: Sequence[bytes]) -> Path:
    """The same layers, one after the other, into one directory."""
    for data in layers:
        extract(data, place)
    return place


@needs_root
@pytest.mark.parametrize("case", ABOVE)
def test_a_layer_on_others_means_the_same_in_an_overlay(
    tmp_path: Path, case: str
) -> None:
    above, expected = ABOVE[case]
    layers = [layer(*BELOW), layer(*above)]
    with ExitStack() as stack:
        merged = stacked(tmp_path / "overlay", layers, stack)
        plain = onto(tmp_path / "plain", layers)
        found = contents(plain)
        for name, what in expected.items():
            assert found.get(name) == what, name
        assert comparable(merged) == comparable(plain)


def comparable(root: Path) -> dict[str, tuple[object, ...]]:
    """Without what overlay cannot keep: links between files of different layers, the
    time of directories that were made on the way."""
    return {
        name: (*what[:2], *what[3:5])
        for name, what in tree(root).items()
        if name != "."
    }


@needs_root
@pytest.mark.parametrize("seed", range(40))
def test_random_layers_mean_the_same_in_an_overlay(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)

    def name() -> str:
        return "/".join(chance.choice("abc") for _ in range(chance.randint(1, 3)))

    def entry() -> E:
        match chance.randint(0, 7):
            case 0 | 1:
                return E(name(), chance.randbytes(4))
            case 2 | 3:
                return d(name(), mode=chance.choice([0o700, 0o755]))
            case 4:
                return E(f"{name()}/.wh.{chance.choice('abc')}")
            case 5:
                return E(f"{name()}/.wh..wh..opq")
            case 6:
                return link(name(), chance.choice(["a", "../b", "/c", "a/b", "."]))
            case _:
                return E(f".wh.{chance.choice('abc')}")

    layers: list[bytes] = []
    with ExitStack() as stack:
        for number in range(4):
            # Of random entries, those that make no layer on these are left out.
            entries: list[E] = []
            for one in (entry() for _ in range(8)):
                trial = tmp_path / "trial"
                try:
                    onto(trial, [*layers, layer(*entries, one)])
                except Exception:  # noqa: BLE001
                    continue
                else:
                    entries.append(one)
                finally:
                    shutil.rmtree(trial)
            layers.append(layer(*entries))
            plain = onto(tmp_path / f"plain{number}", layers)
            merged = stacked(tmp_path / f"overlay{number}", layers, stack)
            assert comparable(merged) == comparable(plain)


@needs_root
def test_directories_that_a_layer_does_not_mention_stay_as_they_are(
    tmp_path: Path,
) -> None:
    layers = [layer(*BELOW), layer(E("dir/sub/new", b"new"))]
    with ExitStack() as stack:
        for root in (
            stacked(tmp_path / "overlay", layers, stack),
            onto(tmp_path / "plain", layers),
        ):
            found = tree(root)
            assert found["./dir"][:3] == (
                oct(stat.S_IFDIR | 0o700),
                (0, 0),
                100 * 10**9,
            )
            assert found["./dir/sub"][2] == 200 * 10**9


# --- as an ordinary user

AS_NOBODY = """
import os, sys
from pathlib import Path
from pluggd.errors import PluggdError
from tests.plugins.diff.layers import extract
os.setgroups([]); os.setgid(65534); os.setuid(65534)
data = sys.stdin.buffer.read()
try:
    done = extract(data, Path(sys.argv[1]), refuse=sys.argv[2] == "refuse")
    print(sorted(done["skipped"].items()))
except PluggdError as error:
    print(type(error).__name__, error)
"""


def as_nobody(data: bytes, root: Path, refuse: str = "skip") -> str:
    if os.geteuid() == 0:
        for path in (root.parent, root):
            path.mkdir(exist_ok=True)
            os.chown(path, 65534, 65534)
    result = subprocess.run(
        [sys.executable, "-c", AS_NOBODY, str(root), refuse],
        input=data,
        capture_output=True,
        check=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    return result.stdout.decode().strip()


@pytest.fixture
def place() -> Path:
    """A directory that another user can get to."""
    import tempfile

    return Path(tempfile.mkdtemp(prefix="pluggd-nobody-", dir="/tmp"))


@needs_root
def test_an_ordinary_user_extracts_all_but_what_only_root_may_set(place: Path) -> None:
    data = layer(
        d("closed", mode=0o555),
        E("closed/file", b"x", mode=0o444, uid=0),
        d("none", mode=0o000),
        E("none/file", b"y"),
        E("setuid", b"z", mode=0o6755),
        E("null", type=tarfile.CHRTYPE, device=(1, 3)),
    )
    root = place / "root"
    assert as_nobody(data, root) == "[('devices', 1), ('owners', 5)]"
    found = tree(root)
    assert found["./closed"][0] == oct(stat.S_IFDIR | 0o555)
    assert found["./none"][0] == oct(stat.S_IFDIR)
    assert found["./setuid"][0] == oct(stat.S_IFREG | 0o755)
    assert "./null" not in found
    # A second layer writes into, and deletes from, directories that keep it out.
    more = layer(E("closed/more", b"m"), E("closed/.wh.file"), E(".wh.none"))
    assert as_nobody(more, root) == "[('owners', 1)]"
    found = tree(root)
    assert found["./closed"][0] == oct(stat.S_IFDIR | 0o555)
    assert {"./closed/more"} == {name for name in found if name.startswith("./closed/")}
    assert "./none" not in found
    shutil.rmtree(place)


@needs_root
def test_an_ordinary_user_is_refused_when_so_configured(place: Path) -> None:
    said = as_nobody(layer(E("a", b"x", uid=0)), place / "root", "refuse")
    assert said.startswith(PermissionDenied.__name__)
    assert 'entry "a": this daemon may not set its owners' in said
    shutil.rmtree(place)
