# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Ingest, commit, delete and collect in two namespaces, against a plain model."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule, run_state_machine_as_test

from pluggd.errors import (
    AlreadyExists,
    FailedPrecondition,
    NotFound,
    OutOfRange,
    PluggdError,
)
from pluggd.services.call import using
from pluggd.services.content import Content, Info, WriteResult
from pluggd.services.metadata import Metadata
from pluggd.testing.machine import TrioMachine
from pluggd.testing.memory import memory_metadata
from tests.plugins.content.content_setup import digest_of, started_content, started_lmdb

ROOT_LABEL = "containerd.io/gc.root"

namespaces = st.sampled_from(["one", "two"])
refs = st.sampled_from(["a", "b"])
pieces = st.sampled_from([b"", b"x", b"yy", b"x" * 70_000])
offsets = st.sampled_from(["zero", "current", "wrong"])


class ContentMachine(TrioMachine):
    """The model: the bytes of each blob and ingest, and which blobs are roots."""

    content: Content
    metadata: Metadata
    root: Path

    def __init__(self) -> None:
        self.blobs: dict[tuple[str, str], bytes] = {}
        self.roots: set[tuple[str, str]] = set()
        self.ingests: dict[tuple[str, str], bytes] = {}
        super().__init__()

    @asynccontextmanager
    async def setup(self) -> AsyncGenerator[None]:
        with tempfile.TemporaryDirectory() as root:
            async with memory_metadata() as metadata:
                self.root, self.metadata = Path(root), metadata
                async with started_content(self.root, metadata) as content:
                    self.content = content
                    yield

    def write(
        self, namespace: str, expected_error: type[PluggdError] | None, **call: object
    ) -> WriteResult | None:
        """Write, and hold the outcome against what the model says."""

        async def run() -> WriteResult:
            with using(namespace=namespace):
                return await self.content.write(**call)  # type: ignore[arg-type] # from rules

        try:
            result = self.wait(run)
        except PluggdError as error:
            if expected_error is None or not isinstance(error, expected_error):
                raise
            return None
        assert expected_error is None, f"{expected_error} expected, got {result}"
        return result

    @rule(namespace=namespaces, ref=refs, data=pieces, offset=offsets)
    def append(self, namespace: str, ref: str, data: bytes, offset: str) -> None:
        key = (namespace, ref)
        before = self.ingests.get(key, b"")
        at = {"zero": 0, "current": len(before), "wrong": len(before) + 1}[offset]
        error = OutOfRange if offset == "wrong" else None
        result = self.write(namespace, error, ref=ref, offset=at, data=data)
        if result is not None:
            after = data if at == 0 else before + data
            self.ingests[key] = after
            assert (result.offset, result.digest) == (len(after), digest_of(after))

    @rule(namespace=namespaces, ref=refs, data=pieces, good=st.booleans())
    def commit(self, namespace: str, ref: str, data: bytes, good: bool) -> None:
        key = (namespace, ref)
        before = self.ingests.get(key, b"")
        whole = before + data
        digest = digest_of(whole)
        expected = digest if good else digest_of(b"something else")
        exists = (namespace, digest) in self.blobs
        if not good:
            error: type[PluggdError] | None = FailedPrecondition
        else:
            error = AlreadyExists if exists else None
        self.write(
            namespace,
            error,
            ref=ref,
            action="commit",
            offset=len(before),
            data=data,
            expected=expected,
        )
        if good:
            self.ingests.pop(key, None)
            self.blobs.setdefault((namespace, digest), whole)
        else:
            self.ingests[key] = whole

    @rule(namespace=namespaces, ref=refs, data=pieces)
    def adopt(self, namespace: str, ref: str, data: bytes) -> None:
        """A stat with an expected digest, and a commit if another namespace has it."""
        key, digest = (namespace, ref), digest_of(data)
        mine = (namespace, digest) in self.blobs
        other = any(found == digest for _, found in self.blobs)
        if key in self.ingests or not (mine or other):
            return
        error = AlreadyExists if mine else None
        result = self.write(namespace, error, ref=ref, action="stat", expected=digest)
        if result is not None:
            assert result.offset == len(data)
            self.write(namespace, None, ref=ref, action="commit", offset=result.offset)
            self.blobs[namespace, digest] = data

    @rule(namespace=namespaces, ref=refs)
    def abort(self, namespace: str, ref: str) -> None:
        async def run() -> bool:
            with using(namespace=namespace):
                try:
                    await self.content.abort(ref=ref)
                except NotFound:
                    return False
            return True

        assert self.wait(run) == (self.ingests.pop((namespace, ref), None) is not None)

    @rule(namespace=namespaces, data=pieces)
    def delete(self, namespace: str, data: bytes) -> None:
        digest = digest_of(data)

        async def run() -> bool:
            with using(namespace=namespace):
                try:
                    await self.content.delete(digest=digest)
                except NotFound:
                    return False
            return True

        self.roots.discard((namespace, digest))
        removed = self.blobs.pop((namespace, digest), None)
        assert self.wait(run) == (removed is not None)

    @rule(namespace=namespaces, data=pieces)
    def make_root(self, namespace: str, data: bytes) -> None:
        key = (namespace, digest_of(data))
        if key not in self.blobs:
            return

        async def run() -> None:
            with using(namespace=namespace):
                await self.content.update(
                    info=Info(digest=key[1], labels={ROOT_LABEL: "1"})
                )

        self.wait(run)
        self.roots.add(key)

    @rule()
    def collect(self) -> None:
        self.wait(self.metadata.collect)
        self.blobs = {key: self.blobs[key] for key in self.roots}

        def files() -> set[str]:
            return {path.name for path in (self.root / "blobs/sha256").iterdir()}

        assert files() == {digest[7:] for _, digest in self.blobs}

    @invariant()
    def what_is_there_is_what_the_model_says(self) -> None:
        async def run() -> None:
            for namespace in ("one", "two"):
                with using(namespace=namespace):
                    infos = (await self.content.list()).infos
                    statuses = (await self.content.list_statuses()).statuses
                    for info in infos:
                        chunk = await self.content.read(digest=info.digest)
                        assert chunk.data == self.blobs[namespace, info.digest]
                assert {info.digest for info in infos} == {
                    digest for name, digest in self.blobs if name == namespace
                }
                assert {status.ref: status.offset for status in statuses} == {
                    ref: len(data)
                    for (name, ref), data in self.ingests.items()
                    if name == namespace
                }

        self.wait(run)


class RestartingMachine(ContentMachine):
    """The same on disk, where everything can be stopped and started again."""

    @asynccontextmanager
    async def setup(self) -> AsyncGenerator[None]:
        self.again, self.up = trio.Event(), trio.Event()
        with tempfile.TemporaryDirectory() as root:
            self.root = Path(root) / "content"
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.serve, Path(root) / "metadata")
                await self.up.wait()
                yield
                nursery.cancel_scope.cancel()

    async def serve(self, metadata_root: Path) -> None:
        while True:
            async with (
                started_lmdb(metadata_root) as self.metadata,
                started_content(self.root, self.metadata) as self.content,
            ):
                self.up.set()
                await self.again.wait()
                self.again = trio.Event()

    @rule()
    def restart(self) -> None:
        async def run() -> None:
            self.up = trio.Event()
            self.again.set()
            await self.up.wait()

        self.wait(run)


@pytest.mark.parametrize(
    ("machine", "examples"), [(ContentMachine, 25), (RestartingMachine, 5)]
)
def test_content_behaves_like_its_model(
    machine: type[ContentMachine], examples: int
) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=30,
            deadline=None,
            print_blob=True,
        ),
    )
