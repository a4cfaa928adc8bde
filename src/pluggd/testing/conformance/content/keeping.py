# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What keeps a blob or an ingest, and when it goes."""

from __future__ import annotations

import pytest

from pluggd.errors import (
    AlreadyExists,
    NotFound,
)
from pluggd.services.call import using
from pluggd.services.content import Info
from pluggd.services.metadata import (
    CONTENT,
    INGEST,
    Edge,
    Node,
)
from pluggd.testing.conformance.base import IN_PROCESS, Conformance, needs
from pluggd.testing.conformance.content.kit import ContentStand, digest_of, put, refused


class Keeping(Conformance):
    """What keeps a blob or an ingest, and when it goes."""

    async def test_what_nothing_keeps_is_collected(self, stand: ContentStand) -> None:
        content = stand.content
        kept = await put(stand, b"root")
        child = await put(stand, b"child")
        loose = await put(stand, b"loose")
        await content.update(
            info=Info(
                digest=kept,
                labels={
                    "containerd.io/gc.root": "1",
                    "containerd.io/gc.ref.content.l.0": child,
                },
            )
        )
        await stand.metadata.collect()
        assert {info.digest for info in (await content.list()).infos} == {kept, child}
        assert ("one", "/content/delete") in stand.events()
        with refused(NotFound, "not found"):
            await content.read(digest=loose)

    async def test_a_lease_keeps_an_ingest_and_then_its_blob(
        self, stand: ContentStand
    ) -> None:
        content = stand.content
        await stand.lease("l")
        with using(lease="l"):
            await content.write(ref="r", data=b"hello")
            assert stand.held("l") == [Node(INGEST, "one", "r")]
            done = await content.write(ref="r", action="commit", offset=5)
        assert stand.held("l") == [Node(CONTENT, "one", done.digest)]
        await stand.metadata.collect()
        assert (await content.read(digest=done.digest)).data == b"hello"
        await stand.end_lease("l")
        await stand.metadata.collect()
        with refused(NotFound, "not found"):
            await content.read(digest=done.digest)

    async def test_an_ingest_goes_with_its_lease(self, stand: ContentStand) -> None:
        await stand.lease("l")
        with using(lease="l"):
            await stand.content.write(ref="r", data=b"hello")
        await stand.content.write(ref="s", data=b"hello")
        await stand.metadata.collect()
        await stand.end_lease("l")
        await stand.metadata.collect()
        statuses = (await stand.content.list_statuses()).statuses
        assert [status.ref for status in statuses] == ["s"]
        assert (await stand.content.write(ref="r", action="stat")).offset == 0

    async def test_a_refused_blob_is_on_the_lease_all_the_same(
        self, stand: ContentStand
    ) -> None:
        content = stand.content
        digest = await put(stand, b"hello")
        for name, call in (
            ("a", lambda: content.write(ref="r", action="stat", expected=digest)),
            ("b", lambda: content.write(ref="r", action="commit", data=b"hello")),
            ("c", lambda: content.ingest_open(ref="r", expected=digest)),
        ):
            await stand.lease(name)
            with using(lease=name), refused(AlreadyExists, "already exists"):
                await call()
            assert stand.held(name) == [Node(CONTENT, "one", digest)]

    async def test_a_deleted_blob_leaves_the_lease_of_the_call(
        self, stand: ContentStand
    ) -> None:
        await stand.lease("l")
        with using(lease="l"):
            digest = await put(stand, b"hello")
            await stand.content.delete(digest=digest)
        assert stand.held("l") == []

    async def test_an_unknown_lease_is_refused_and_nothing_happens(
        self,
        stand: ContentStand,
    ) -> None:
        content = stand.content
        with using(lease="none"):
            with refused(NotFound, "lease does not exist"):
                await content.write(ref="r", action="commit", data=b"hello")
            with refused(NotFound, "lease does not exist"):
                await content.write(ref="r", data=b"hello")
        assert (await content.list()).infos == []
        assert (await content.list_statuses()).statuses == []
        assert stand.events() == []

    async def test_what_a_blob_refers_to_is_an_edge(self, stand: ContentStand) -> None:
        content = stand.content
        digest = await put(stand, b"x")
        other = digest_of(b"y")
        await content.update(
            info=Info(
                digest=digest,
                labels={
                    "containerd.io/gc.ref.content.0": other,
                    "containerd.io/gc.bref.image": "docker.io/x",
                    "containerd.io/gc.ref.snapshot.native": "s",
                },
            )
        )
        edges = stand.metadata.read(
            lambda view: view.edges(Node(CONTENT, "one", digest))
        )
        assert set(edges) == {
            Edge(Node(CONTENT, "one", other)),
            Edge(Node("image", "one", "docker.io/x"), back=True),
            Edge(Node("snapshot/native", "one", "s")),
        }

    @needs(IN_PROCESS)
    async def test_delete_joins_a_transaction(self, stand: ContentStand) -> None:
        content = stand.content
        digest = await put(stand, b"x")

        with pytest.raises(ZeroDivisionError):
            await stand.metadata.update(
                lambda txn: (txn.run(content.delete(digest=digest)), 1 // 0)
            )
        assert (await content.info(digest=digest)).size == 1
        await stand.metadata.update(lambda txn: txn.run(content.delete(digest=digest)))
        with refused(NotFound, "not found"):
            await content.info(digest=digest)
