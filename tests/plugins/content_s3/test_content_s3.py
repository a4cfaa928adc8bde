# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Blobs in a bucket: what lies there, what an outage does, and whose bucket it is."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from pluggd.errors import (
    DataLoss,
    FailedPrecondition,
    InvalidArgument,
    PluggdError,
    Unavailable,
)
from pluggd.model.record import convert
from pluggd.plugin import Skip
from pluggd.services.call import using
from pluggd.services.fsck import CheckResult
from pluggd.services.metadata import METADATA, Metadata
from pluggd.testing import FakeContext, memory_metadata
from plugins.content_s3 import registration
from plugins.content_s3.config import Config
from plugins.content_s3.credentials import FileCredentials
from plugins.content_s3.trouble import reason_of
from tests.plugins.content_s3.content_s3_setup import credentials, started_s3
from tests.plugins.content_s3.s3_server import S3Server, server


@pytest.fixture
def installed(tmp_path: Path) -> Iterator[S3Server]:
    """By itself, as the reason of a skip does not come out of a coroutine."""
    yield from server(tmp_path / "objects")


@pytest.fixture
async def s3(installed: S3Server) -> S3Server:
    await installed.start()
    return installed


@pytest.fixture
async def metadata() -> AsyncGenerator[Metadata]:
    async with memory_metadata() as metadata:
        yield metadata


@pytest.fixture(autouse=True)
def in_namespace() -> Iterator[None]:
    with using(namespace="one"):
        yield


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def key_of(data: bytes) -> str:
    return "blobs/" + digest_of(data).replace(":", "/")


async def until(condition: object) -> None:
    assert callable(condition)
    with trio.fail_after(30):
        while not condition():
            await trio.lowlevel.checkpoint()


async def check(
    metadata: Metadata, *, deep: bool = False, repair: bool = False
) -> CheckResult:
    resource = next(one for one in metadata.resources() if one.type == "content")
    assert resource.check is not None
    return await resource.check(deep=deep, repair=repair)


@asynccontextmanager
async def refused_start(match: str) -> AsyncGenerator[None]:
    """The start in the block fails; `started` has a nursery around it."""
    expected = pytest.RaisesExc(FailedPrecondition, match=match)
    with pytest.RaisesGroup(expected):
        yield


async def test_a_large_blob_goes_and_comes_in_parts(
    tmp_path: Path, s3: S3Server, metadata: Metadata
) -> None:
    data = os.urandom(5 << 20) * 3 + b"tail"
    async with started_s3(s3, tmp_path / "c", metadata, part_size=5 << 20) as (
        content,
        _,
    ):
        for start in range(0, len(data), 1 << 20):
            await content.write(
                ref="r", offset=start, data=data[start : start + (1 << 20)]
            )
        assert s3.keys() == []
        await content.write(ref="r", action="commit", offset=len(data))
        assert s3.keys() == [key_of(data)]
        assert list((tmp_path / "c" / "ingest").iterdir()) == []
        chunk = await content.read(digest=digest_of(data), offset=(5 << 20) - 3, size=9)
        assert chunk.data == data[(5 << 20) - 3 :][:9]
        assert (await content.verify(digest=digest_of(data))).size == len(data)
        opened = await content.open(digest=digest_of(data))
        with os.fdopen(opened.fd, "rb") as stream:
            with pytest.raises(OSError, match="Bad file descriptor"):
                os.write(opened.fd, b"x")
            assert stream.read() == data


async def test_an_outage_is_unavailable_and_nothing_is_lost_in_it(
    tmp_path: Path, s3: S3Server, metadata: Metadata
) -> None:
    async with started_s3(s3, tmp_path / "c", metadata) as (content, context):
        await content.write(ref="a", action="commit", data=b"before")
        s3.stop()
        await content.write(ref="b", data=b"in between")
        told = rf"{s3.endpoint}: put .*: cannot be reached: unavailable"
        with pytest.raises(Unavailable, match=told):
            await content.write(ref="b", action="commit", offset=10)
        assert s3.endpoint in context.trouble
        with pytest.raises(Unavailable, match="cannot be reached"):
            await content.read(digest=digest_of(b"before"))
        assert (await content.info(digest=digest_of(b"before"))).size == 6
        assert (await content.status(ref="b")).offset == 10
        await content.delete(digest=digest_of(b"before"))
        await metadata.collect()
        assert s3.keys() == [key_of(b"before")]
        await s3.start()
        await content.write(ref="b", action="commit", offset=10)
        assert context.trouble == ""
        await until(lambda: s3.keys() == [key_of(b"in between")])


async def test_a_start_without_the_object_store_recovers(
    tmp_path: Path, s3: S3Server, metadata: Metadata
) -> None:
    async with started_s3(s3, tmp_path / "c", metadata) as (content, _):
        await content.write(ref="a", action="commit", data=b"blob")
    s3.copy(key_of(b"blob"), "blobs/sha256/" + "0" * 64)
    s3.stop()
    async with started_s3(s3, tmp_path / "c", metadata) as (content, context):
        assert "cannot be reached" in context.trouble
        assert (await content.info(digest=digest_of(b"blob"))).size == 4
        await s3.start()
        await until(lambda: not context.trouble)
        assert (await content.read(digest=digest_of(b"blob"))).data == b"blob"
        await until(lambda: s3.keys() == [key_of(b"blob")])


async def test_leftovers_go_at_the_start(
    tmp_path: Path, s3: S3Server, metadata: Metadata
) -> None:
    async with started_s3(s3, tmp_path / "c", metadata) as (content, _):
        await content.write(ref="a", action="commit", data=b"keep")
        await content.write(ref="b", action="commit", data=b"drop")
    s3.copy(key_of(b"keep"), key_of(b"nobody's"))
    assert len(s3.keys()) == 3
    async with started_s3(s3, tmp_path / "c", metadata):
        await until(lambda: s3.keys() == sorted([key_of(b"keep"), key_of(b"drop")]))


async def test_a_bucket_of_others_is_left_alone(
    tmp_path: Path, s3: S3Server, metadata: Metadata
) -> None:
    async with started_s3(s3, tmp_path / "c", metadata) as (content, _):
        await content.write(ref="a", action="commit", data=b"blob")
    async with memory_metadata() as other:
        async with (
            refused_start(r"blobs in s3://.*choose another prefix"),
            started_s3(s3, tmp_path / "d", other),
        ):
            pass
        async with started_s3(s3, tmp_path / "d", other, prefix="mine"):
            pass
    assert s3.keys() == [key_of(b"blob")]


async def test_records_whose_bytes_are_elsewhere_are_not_taken(
    tmp_path: Path, s3: S3Server, metadata: Metadata
) -> None:
    async with started_s3(s3, tmp_path / "c", metadata) as (content, _):
        await content.write(ref="a", action="commit", data=b"blob")
    async with (
        refused_start(r"are in s3://.*/pluggd and not in s3:"),
        started_s3(s3, tmp_path / "c", metadata, prefix="other"),
    ):
        pass


@pytest.mark.parametrize("left", [b"blub", b"blo", None])
async def test_a_wrong_object_is_data_loss_found_and_healed(
    tmp_path: Path, s3: S3Server, metadata: Metadata, left: bytes | None
) -> None:
    digest = digest_of(b"blob")
    async with started_s3(s3, tmp_path / "c", metadata) as (content, _):
        await content.write(ref="a", action="commit", data=b"blob")
        path = s3.path(key_of(b"blob"))
        path.unlink() if left is None else path.write_bytes(left)
        problem = {b"blub": "digest", b"blo": "size", None: "missing"}[left]
        found = await check(metadata, deep=True)
        assert [one.problem for one in found.findings] == [problem]
        with pytest.raises(DataLoss):
            await content.verify(digest=digest)
        with pytest.raises(DataLoss):
            await content.read(digest=digest)
        await content.write(ref="a", action="commit", data=b"blob", expected=digest)
        assert (await content.read(digest=digest)).data == b"blob"
        assert (await check(metadata, deep=True)).findings == []


async def test_the_check_finds_and_removes_what_no_record_has(
    tmp_path: Path, s3: S3Server, metadata: Metadata
) -> None:
    blob, stray = key_of(b"blob"), "blobs/sha256/" + "0" * 64
    async with started_s3(s3, tmp_path / "c", metadata) as (content, _):
        await content.write(ref="a", action="commit", data=b"blob")
    s3.copy(blob, stray)
    async with started_s3(s3, tmp_path / "c", metadata):
        # That is what a start removes by itself; from here on it does not look.
        await until(lambda: s3.keys() == [blob])
        s3.copy(blob, stray)
        s3.copy(blob, "blobs/note.txt")
        found = await check(metadata, repair=True)
        assert [one.problem for one in found.findings] == ["stray", "stray"]
        assert all(one.repaired and one.bytes == 4 for one in found.findings)
        assert s3.keys() == [blob]


async def test_a_cancelled_commit_leaves_no_object_and_can_be_repeated(
    tmp_path: Path, s3: S3Server, metadata: Metadata
) -> None:
    data = os.urandom(5 << 20) * 8
    async with started_s3(s3, tmp_path / "c", metadata, part_size=5 << 20) as (
        content,
        _,
    ):
        for start in range(0, len(data), 4 << 20):
            await content.write(
                ref="r", offset=start, data=data[start : start + (4 << 20)]
            )
        async with trio.open_nursery() as nursery:

            async def commit() -> None:
                await content.write(ref="r", action="commit", offset=len(data))

            nursery.start_soon(commit)
            await until(lambda: any((s3.directory / "").rglob("*uploads*/*")))
            nursery.cancel_scope.cancel()
        assert s3.keys() == []
        assert (await content.status(ref="r")).offset == len(data)
        await content.write(ref="r", action="commit", offset=len(data))
        assert s3.keys() == [key_of(data)]


async def test_refused_keys_are_told_and_not_shown(
    tmp_path: Path, s3: S3Server, metadata: Metadata
) -> None:
    file = tmp_path / "wrong"
    file.write_text("[p]\naws_access_key_id=NOBODY\naws_secret_access_key=hush-hush\n")
    async with started_s3(
        s3, tmp_path / "c", metadata, credentials_file=str(file), profile="p"
    ) as (content, context):
        with pytest.raises(Unavailable) as caught:
            await content.write(ref="a", action="commit", data=b"blob")
        assert "InvalidAccessKeyId" in caught.value.message
        assert "hush" not in caught.value.message + context.trouble


async def test_a_bucket_that_is_not_there_is_named(
    tmp_path: Path, s3: S3Server, metadata: Metadata
) -> None:
    async with (
        refused_start(r"s3://nowhere/.*no such bucket; make"),
        started_s3(s3, tmp_path / "c", metadata, bucket="nowhere"),
    ):
        pass


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", r"has no section \[default\]"),
        ("[default]\naws_access_key_id = hush\n", "has no aws_secret_access_key"),
        ("hush hush", "is not in the format"),
        (None, "no such file"),
    ],
)
def test_a_bad_credentials_file_is_told_without_what_is_in_it(
    tmp_path: Path, text: str | None, reason: str
) -> None:
    file = tmp_path / "keys"
    if text is not None:
        file.write_text(text)
    with pytest.raises(FailedPrecondition, match=reason) as caught:
        FileCredentials(str(file), "default")()
    assert "hush" not in str(caught.value)


def test_credentials_are_those_of_the_file(tmp_path: Path) -> None:
    found = FileCredentials(credentials(tmp_path), "default")()
    assert (found["access_key_id"], found["secret_access_key"]) == ("S3RVER", "S3RVER")


@pytest.mark.parametrize(
    ("bucket", "library", "reason"),
    [("", True, "no bucket is configured"), ("b", False, r"pip install .pluggd\[s3\]")],
)
async def test_it_is_skipped_with_what_to_do(
    metadata: Metadata,
    monkeypatch: pytest.MonkeyPatch,
    bucket: str,
    library: bool,
    reason: str,
) -> None:

    def find(name: str) -> object:
        return object() if library else None

    monkeypatch.setattr(registration, "find_spec", find)
    context = FakeContext(Config(bucket=bucket), {METADATA: metadata})
    with pytest.raises(Skip, match=reason):
        async with registration.start(context):
            pass


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({"endpoint": "minio:9000"}, 'endpoint = "minio:9000"'),
        ({"part_size": 1}, "part_size = 1"),
        ({"timeout": 0}, "timeout = 0"),
        ({"retries": -1}, "retries = -1"),
        ({"requests": 0}, "requests = 0"),
        ({"chunk_size": 1}, "chunk_size = 1"),
    ],
)
def test_an_option_out_of_range_is_named(options: dict[str, object], key: str) -> None:
    with pytest.raises(InvalidArgument, match=key):
        convert(options, Config)


def test_a_reason_is_one_line() -> None:
    error = PluggdError("Generic S3 error: x - HTTP error: y\n\nDebug source:\nGeneric")
    assert reason_of(error) == "HTTP error: y"
