# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The tar reader agrees with the standard library, whatever way the bytes come."""

from __future__ import annotations

import io
import tarfile
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluggd.errors import InvalidArgument, ResourceExhausted
from plugins.transfer.tarstream import (
    BLOCK,
    MAX_NAME,
    Data,
    Entry,
    EntryEnd,
    TarStream,
)

Files = dict[str, bytes]


def archive(files: Files, format: int = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as tar:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def read(data: bytes, step: int) -> Files:
    stream = TarStream()
    found: Files = {}
    name = ""
    for start in range(0, len(data), step):
        for event in stream.feed(data[start : start + step]):
            if isinstance(event, Entry):
                name = event.name
                found[name] = b""
            elif isinstance(event, Data):
                found[name] += event.chunk
            else:
                assert isinstance(event, EntryEnd)
    stream.close()
    return found


FILES = {"a": b"1", "empty": b"", "blobs/sha256/x": b"y" * 1500, "n" * 180: b"long"}


@pytest.mark.parametrize("format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
@pytest.mark.parametrize("step", [1, 511, 512, 513, 1 << 20])
def test_any_cut_of_the_bytes_gives_the_same_files(format: int, step: int) -> None:
    assert read(archive(FILES, format), step) == FILES


@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8", exclude_characters="\0/"), min_size=1).map(
            lambda name: f"d/{name}"
        ),
        st.binary(max_size=2000),
        max_size=5,
    ),
    st.integers(1, 3000),
)
def test_what_the_standard_library_writes_is_read(files: Files, step: int) -> None:
    if files:
        assert read(archive(files), step) == files


@pytest.mark.parametrize("cut", [1, 511, 513, 600, 1024, 1600])
def test_a_truncated_archive_is_refused(cut: int) -> None:
    data = archive({"a": b"x" * 700})[:cut]
    with pytest.raises(InvalidArgument, match="truncated"):
        read(data, 100)


def test_an_empty_input_is_no_archive() -> None:
    with pytest.raises(InvalidArgument, match="empty, or not a tar"):
        read(b"", 1)


def test_a_compressed_archive_says_so() -> None:
    with pytest.raises(InvalidArgument, match="uncompress it first"):
        read(b"\x1f\x8b" + b"x" * 600, 600)


def test_a_damaged_header_is_refused() -> None:
    data = bytearray(archive({"a": b"x"}))
    data[3] ^= 1
    with pytest.raises(InvalidArgument, match="bad checksum"):
        read(bytes(data), 512)


def test_links_carry_no_bytes_whatever_their_size_says() -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        link = tarfile.TarInfo("l")
        link.type = tarfile.SYMTYPE
        link.linkname = "a"
        link.size = 5
        buffer.write(link.tobuf())
        tar.offset = buffer.tell()
        tar.addfile(tarfile.TarInfo("b"), io.BytesIO(b""))
    assert set(read(buffer.getvalue(), 512)) == {"l", "b"}


def test_a_huge_extended_header_is_refused_before_it_is_read() -> None:
    header = tarfile.TarInfo("x")
    header.type = tarfile.XHDTYPE
    header.size = 1 << 30
    with pytest.raises(ResourceExhausted, match="extended header"):
        list(TarStream().feed(header.tobuf()[:512]))


@pytest.mark.parametrize(
    "body", [b"5 a=b\n\n", b"x a=b\n", b"99 a=b\n", b"6 a b\n", b"-1 a=b\n"]
)
def test_a_malformed_pax_header_is_refused(body: bytes) -> None:
    header = tarfile.TarInfo("x")
    header.type = tarfile.XHDTYPE
    header.size = len(body)
    data = header.tobuf()[:512] + body + bytes(-len(body) % 512)
    with pytest.raises(InvalidArgument, match="malformed pax"):
        list(TarStream().feed(data))


def pax(*records: tuple[bytes, bytes], kind: bytes = tarfile.XHDTYPE) -> bytes:
    """An extended header of these records."""
    body = b""
    for key, value in records:
        line = b" " + key + b"=" + value + b"\n"
        length = len(line) + 1
        while len(str(length)) + len(line) != length:
            length = len(str(length)) + len(line)
        body += str(length).encode() + line
    header = tarfile.TarInfo("x")
    header.type = kind
    header.size = len(body)
    return header.tobuf()[:BLOCK] + body + bytes(-len(body) % BLOCK)


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE])
def test_extended_headers_cost_no_memory_however_many_come(kind: bytes) -> None:
    stream = TarStream()
    tracemalloc.start()
    for number in range(200):
        header = pax((b"key-%d" % number, bytes(100_000)), kind=kind)
        assert not list(stream.feed(header))
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert grown < 1_000_000


def test_a_name_is_no_longer_than_a_path_can_be() -> None:
    longest = "n" * MAX_NAME
    assert set(read(archive({longest: b"x"}), BLOCK)) == {longest}
    for kind in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        with pytest.raises(InvalidArgument, match=r"name of 4097 bytes.*may have 4096"):
            read(archive({longest + "n": b"x"}, kind), BLOCK)


@pytest.mark.parametrize(
    "size", ["-1", "1_0", "٣", " 1", "", "9" * 19, "9" * 30, "9" * 5000, str(2**63)]
)
def test_a_size_that_is_none_is_refused(size: str) -> None:
    header = tarfile.TarInfo("a").tobuf()[:BLOCK]
    with pytest.raises(InvalidArgument, match='entry "a" has the bad size'):
        list(TarStream().feed(pax((b"size", size.encode())) + header))


def test_a_sparse_file_is_refused() -> None:
    header = tarfile.TarInfo("a").tobuf()[:BLOCK]
    with pytest.raises(InvalidArgument, match='entry "a" is a sparse file'):
        list(TarStream().feed(pax((b"GNU.sparse.major", b"1")) + header))
