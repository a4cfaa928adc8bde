# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Blobs in an object store that looks at signatures and conditions (`swift_server`)."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Generator
from pathlib import Path

import pytest
import trio

from pluggd.errors import FailedPrecondition, Unavailable
from pluggd.services.call import using
from pluggd.testing import memory_metadata
from plugins.content_s3.mark import ObjectMark
from tests.plugins.content_s3.content_s3_setup import started_s3
from tests.plugins.content_s3.swift_server import SwiftServer, swift


@pytest.fixture(scope="module")
def started_swift(tmp_path_factory: pytest.TempPathFactory) -> Generator[SwiftServer]:
    yield from swift(tmp_path_factory.mktemp("swift") / "swift")


@pytest.fixture
async def store(started_swift: SwiftServer) -> SwiftServer:
    if not started_swift.is_running:
        with trio.fail_after(60):
            await started_swift.start()
    return started_swift


@pytest.fixture(autouse=True)
def in_namespace() -> Generator[None]:
    with using(namespace="one"):
        yield


async def test_a_wrong_signature_is_refused_and_said(
    tmp_path: Path, store: SwiftServer
) -> None:
    file = tmp_path / "wrong"
    file.write_text(
        f"[p]\naws_access_key_id={store.key}\naws_secret_access_key=hush-hush\n"
    )
    with trio.fail_after(60):
        async with (
            memory_metadata() as metadata,
            started_s3(
                store,
                tmp_path / "c",
                metadata,
                credentials_file=str(file),
                profile="p",
            ) as (content, context),
        ):
            with pytest.raises(Unavailable, match="SignatureDoesNotMatch") as caught:
                await content.write(ref="a", action="commit", data=b"blob")
            assert "hush" not in caught.value.message + context.trouble


async def test_a_large_blob_goes_and_comes_in_parts(
    tmp_path: Path, store: SwiftServer
) -> None:
    data = os.urandom(5 << 20) * 3 + b"tail"
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    with trio.fail_after(120):
        async with (
            memory_metadata() as metadata,
            started_s3(
                store, tmp_path / "c", metadata, prefix="large", part_size=5 << 20
            ) as (content, _),
        ):
            for start in range(0, len(data), 1 << 20):
                piece = data[start : start + (1 << 20)]
                await content.write(ref="r", offset=start, data=piece)
            await content.write(ref="r", action="commit", offset=len(data))
            assert (await content.verify(digest=digest)).size == len(data)
            chunk = await content.read(digest=digest, offset=(5 << 20) - 3, size=9)
            assert chunk.data == data[(5 << 20) - 3 :][:9]


async def test_of_two_stores_that_begin_at_once_one_has_the_prefix(
    tmp_path: Path, store: SwiftServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second sees an empty prefix, too: only the condition of its put tells."""
    with trio.fail_after(60):
        async with memory_metadata() as one, memory_metadata() as other:
            async with started_s3(store, tmp_path / "c", one, prefix="race"):
                pass

            async def nothing(_: ObjectMark) -> None:
                monkeypatch.undo()

            monkeypatch.setattr(ObjectMark, "read", nothing)
            expected = pytest.RaisesExc(FailedPrecondition, match="came second")
            with pytest.RaisesGroup(expected):
                async with started_s3(store, tmp_path / "d", other, prefix="race"):
                    pass
