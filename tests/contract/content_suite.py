# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What every provider of `pluggd.content.v1` promises.

Plain async functions over the fixture `subject`; a test module imports them all and
says what they run on. They use the two interfaces alone: Content and Metadata.
"""

from __future__ import annotations

import hashlib
import mmap
import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from pluggd.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    OutOfRange,
    PluggdError,
    Unavailable,
)
from pluggd.model.record import decode
from pluggd.services.call import using
from pluggd.services.content import Content, Info
from pluggd.services.envelope import Envelope
from pluggd.services.metadata import (
    CONTENT,
    FOREVER,
    INGEST,
    LEASE,
    Edge,
    Metadata,
    Node,
)


@dataclass
class Subject:
    """A provider and the metadata store that it works on."""

    content: Content
    metadata: Metadata

    async def lease(self, name: str, namespace: str = "one") -> None:
        node = Node(LEASE, namespace, name)
        await self.metadata.update(lambda txn: txn.set_node(node, root_until=FOREVER))

    async def end_lease(self, name: str, namespace: str = "one") -> None:
        await self.metadata.update(
            lambda txn: txn.drop_node(Node(LEASE, namespace, name))
        )

    def held(self, name: str, namespace: str = "one") -> list[Node]:
        return self.metadata.read(
            lambda view: [
                edge.target for edge in view.edges(Node(LEASE, namespace, name))
            ]
        )

    def events(self) -> list[tuple[str, str]]:
        """Namespace and topic of all events."""
        found = self.metadata.read(lambda view: list(view.events(0)))
        envelopes = [decode(data, Envelope) for _, data in found]
        return [(envelope.namespace, envelope.topic) for envelope in envelopes]

    async def keep(self, digest: str, namespace: str = "one") -> None:
        """Make a blob a root, so that collections leave it alone."""
        with using(namespace=namespace):
            await self.content.update(
                info=Info(digest=digest, labels={"containerd.io/gc.root": "yes"}),
                fields=["labels.containerd.io/gc.root"],
            )


def digest_of(data: bytes, algorithm: str = "sha256") -> str:
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


async def put(subject: Subject, data: bytes, namespace: str = "one") -> str:
    with using(namespace=namespace):
        result = await subject.content.write(ref="put", action="commit", data=data)
    return result.digest


@contextmanager
def refused(kind: type[PluggdError], text: str) -> Generator[None]:
    """The block raises exactly this class, with this text somewhere in the message."""
    with pytest.raises(PluggdError) as caught:
        yield
    assert type(caught.value) is kind or isinstance(caught.value, kind)
    assert text in str(caught.value)


@pytest.fixture(autouse=True)
def in_namespace() -> Iterator[None]:
    with using(namespace="one"):
        yield


# --- a blob in one piece


async def test_a_blob_comes_back_as_it_was_committed(subject: Subject) -> None:
    content = subject.content
    result = await content.write(ref="r", action="commit", data=b"hello")
    assert result.digest == digest_of(b"hello")
    assert (result.offset, result.total, result.action) == (5, 5, "commit")
    assert result.started_at > 0
    chunk = await content.read(digest=result.digest)
    assert (chunk.offset, chunk.data) == (0, b"hello")
    info = await content.info(digest=result.digest)
    assert (info.digest, info.size) == (result.digest, 5)
    assert info.created_at == info.updated_at > 0


async def test_the_empty_blob_is_a_blob(subject: Subject) -> None:
    digest = await put(subject, b"")
    assert digest == digest_of(b"")
    assert (await subject.content.info(digest=digest)).size == 0
    assert (await subject.content.read(digest=digest)).data == b""


async def test_a_commit_is_announced_with_its_change(subject: Subject) -> None:
    digest = await put(subject, b"x")
    await subject.content.delete(digest=digest)
    assert subject.events() == [("one", "/content/create"), ("one", "/content/delete")]


async def test_labels_come_with_the_commit(subject: Subject) -> None:
    labels = {"a": "1", "empty": ""}
    result = await subject.content.write(
        ref="r", action="commit", data=b"x", labels=labels
    )
    info = await subject.content.info(digest=result.digest)
    assert info.labels == {"a": "1"}


async def test_a_blob_that_is_there_is_refused(subject: Subject) -> None:
    digest = await put(subject, b"x")
    with refused(AlreadyExists, f"content {digest}: already exists"):
        await subject.content.write(ref="r", action="commit", data=b"x")
    with refused(AlreadyExists, f"content {digest}: already exists"):
        await subject.content.write(ref="r", action="stat", expected=digest)
    with refused(NotFound, "reference r: not found"):
        await subject.content.abort(ref="r")
    assert subject.events() == [("one", "/content/create")]


@pytest.mark.parametrize("algorithm", ["sha256", "sha384", "sha512"])
async def test_the_algorithm_is_that_of_the_expected_digest(
    subject: Subject, algorithm: str
) -> None:
    expected = digest_of(b"some bytes", algorithm)
    result = await subject.content.write(
        ref="r", action="commit", data=b"some bytes", expected=expected
    )
    assert result.digest == expected
    await subject.content.write(ref="s", data=b"other ")
    expected = digest_of(b"other bytes", algorithm)
    result = await subject.content.write(
        ref="s", action="commit", offset=6, data=b"bytes", expected=expected
    )
    assert result.digest == expected
    assert (await subject.content.verify(digest=expected)).size == 11


async def test_a_blob_in_one_piece_with_a_wrong_digest_is_kept_as_an_ingest(
    subject: Subject,
) -> None:
    expected = digest_of(b"other")
    with refused(
        FailedPrecondition,
        f"unexpected commit digest {digest_of(b'hello')}, expected {expected}: "
        f"failed precondition",
    ):
        await subject.content.write(
            ref="r", action="commit", data=b"hello", expected=expected
        )
    status = await subject.content.status(ref="r")
    assert status.offset == 5
    result = await subject.content.write(ref="r", action="commit", offset=5)
    assert result.digest == digest_of(b"hello")


# --- an ingest in steps


async def test_an_ingest_grows_step_by_step(subject: Subject) -> None:
    content = subject.content
    first = await content.write(ref="r", action="stat", total=10)
    assert (first.offset, first.total, first.digest) == (0, 10, digest_of(b""))
    second = await content.write(ref="r", offset=0, data=b"hello")
    assert (second.offset, second.digest) == (5, digest_of(b"hello"))
    assert second.started_at == first.started_at > 0
    third = await content.write(ref="r", offset=5, data=b"world")
    assert (third.offset, third.total) == (10, 10)
    status = await content.status(ref="r")
    assert (status.ref, status.offset, status.total) == ("r", 10, 10)
    with refused(NotFound, ""):
        await content.info(digest=digest_of(b"helloworld"))
    done = await content.write(ref="r", action="commit", offset=10)
    assert done.digest == digest_of(b"helloworld")
    assert (await content.read(digest=done.digest)).data == b"helloworld"
    with refused(NotFound, 'could not get status for ref "r": reference r: not found'):
        await content.status(ref="r")


async def test_an_offset_in_between_is_refused_and_progress_kept(
    subject: Subject,
) -> None:
    content = subject.content
    await content.write(ref="r", data=b"hello")
    for offset in (3, 6):
        with refused(OutOfRange, f"write @{offset} must occur at current offset 5"):
            await content.write(ref="r", offset=offset, data=b"x")
    assert (await content.status(ref="r")).offset == 5


async def test_an_offset_into_a_new_ingest_leaves_none(subject: Subject) -> None:
    with refused(OutOfRange, "write @3 must occur at current offset 0"):
        await subject.content.write(ref="r", offset=3, data=b"x")
    assert (await subject.content.list_statuses()).statuses == []


async def test_offset_zero_begins_anew(subject: Subject) -> None:
    content = subject.content
    await content.write(ref="r", data=b"hello")
    result = await content.write(ref="r", data=b"abc")
    assert (result.offset, result.digest) == (3, digest_of(b"abc"))
    done = await content.write(ref="r", action="commit", offset=0)
    assert done.digest == digest_of(b"")


async def test_a_size_that_is_not_as_announced_is_refused_and_kept(
    subject: Subject,
) -> None:
    content = subject.content
    await content.write(ref="r1", data=b"0123456789", total=11)
    with refused(
        FailedPrecondition, '"r1" failed size validation: 10 != 11: failed precondition'
    ):
        await content.write(ref="r1", action="commit", offset=10)
    with refused(
        FailedPrecondition, '"r1" failed size validation: 10 != 9: failed precondition'
    ):
        await content.write(ref="r1", action="commit", offset=10, total=9)
    done = await content.write(ref="r1", action="commit", offset=10, total=10)
    assert done.digest == digest_of(b"0123456789")


async def test_a_digest_that_is_not_as_expected_is_refused_and_kept(
    subject: Subject,
) -> None:
    content = subject.content
    expected = digest_of(b"abc")
    await content.write(ref="r", data=b"abx", expected=expected)
    with refused(FailedPrecondition, f"expected {expected}: failed precondition"):
        await content.write(ref="r", action="commit", offset=3)
    await content.write(ref="r", data=b"abc")
    done = await content.write(ref="r", action="commit", offset=3)
    assert done.digest == expected


async def test_another_total_begins_anew(subject: Subject) -> None:
    content = subject.content
    await content.write(ref="r", data=b"hello", total=10)
    result = await content.write(ref="r", action="stat", total=20)
    assert (result.offset, result.total) == (0, 20)
    assert (await content.status(ref="r")).offset == 0


async def test_an_expected_blob_that_appears_ends_the_ingest(subject: Subject) -> None:
    content = subject.content
    expected = digest_of(b"hello")
    await content.write(ref="r", data=b"he", expected=expected)
    await put(subject, b"hello")
    with refused(AlreadyExists, f"blob with expected digest {expected} exists"):
        await content.write(ref="r", offset=2, data=b"llo")
    with refused(NotFound, "reference r: not found"):
        await content.status(ref="r")


async def test_ingests_are_listed_by_ref(subject: Subject) -> None:
    content = subject.content
    long = "x" * 3000
    for ref in ("b", "a", long):
        await content.write(ref=ref, data=b"12")
    statuses = (await content.list_statuses()).statuses
    assert [status.ref for status in statuses] == ["a", "b", long]
    assert {status.offset for status in statuses} == {2}
    found = (await content.list_statuses(filters=["ref~=^b"])).statuses
    assert [status.ref for status in found] == ["b"]
    assert len((await content.list_statuses(filters=[""])).statuses) == 3


async def test_an_aborted_ingest_is_gone(subject: Subject) -> None:
    content = subject.content
    await content.write(ref="r", data=b"12")
    await content.abort(ref="r")
    with refused(NotFound, "reference r: not found"):
        await content.abort(ref="r")
    assert (await content.write(ref="r", action="stat")).offset == 0


async def test_one_ref_in_two_namespaces_is_two_ingests(subject: Subject) -> None:
    content = subject.content
    await content.write(ref="r", data=b"one")
    with using(namespace="two"):
        await content.write(ref="r", data=b"second")
        assert (await content.status(ref="r")).offset == 6
    assert (await content.status(ref="r")).offset == 3


# --- streams


async def test_a_stream_becomes_a_blob_and_a_blob_a_stream(subject: Subject) -> None:
    data = os.urandom(5 << 20)
    send, receive = trio.open_memory_channel[bytes](2)
    result: list[Info] = []

    async def take() -> None:
        expected = digest_of(data)
        result.append(
            await subject.content.ingest(
                ref="r", total=len(data), expected=expected, source=receive
            )
        )

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(take)
            async with send:
                for start in range(0, len(data), 300_000):
                    await send.send(data[start : start + 300_000])
    assert result[0].digest == digest_of(data)
    assert result[0].size == len(data)
    for offset, size in ((0, 0), (1000, 3 << 20), (len(data), 0)):
        out, back = trio.open_memory_channel[bytes](100)
        with trio.fail_after(10):
            await subject.content.fetch(
                digest=result[0].digest, offset=offset, size=size, out=out
            )
        out.close()
        got = b"".join([item async for item in back])
        assert got == data[offset : offset + size if size else None]


async def test_a_stream_that_breaks_off_leaves_an_ingest(subject: Subject) -> None:
    data = os.urandom(9 << 20)
    send, receive = trio.open_memory_channel[bytes](0)
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: subject.content.ingest(ref="r", source=receive))
            for start in range(0, 6 << 20, 1 << 20):
                await send.send(data[start : start + (1 << 20)])
            nursery.cancel_scope.cancel()
    status = await subject.content.status(ref="r")
    assert 0 < status.offset < len(data)
    kept = status.offset
    result = await subject.content.write(
        ref="r",
        action="commit",
        offset=kept,
        data=data[kept:],
        expected=digest_of(data),
    )
    assert result.offset == len(data)


async def test_a_stream_that_is_too_short_is_refused(subject: Subject) -> None:
    send, receive = trio.open_memory_channel[bytes](2)
    await send.send(b"abc")
    send.close()
    with refused(FailedPrecondition, '"r" failed size validation: 3 != 4'):
        await subject.content.ingest(ref="r", total=4, source=receive)
    assert (await subject.content.status(ref="r")).offset == 3


# --- descriptors


async def test_a_blob_is_read_through_a_descriptor(subject: Subject) -> None:
    digest = await put(subject, b"hello")
    opened = await subject.content.open(digest=digest)
    try:
        assert os.pread(opened.fd, 100, 0) == b"hello"
        assert opened.info.size == 5
        with pytest.raises(OSError, match=r"descriptor|permitted"):
            os.write(opened.fd, b"x")
    finally:
        os.close(opened.fd)


async def test_a_blob_is_written_through_a_descriptor(subject: Subject) -> None:
    content = subject.content
    data = os.urandom(300_000)
    opened = await content.ingest_open(ref="r", total=len(data))
    assert opened.status.offset == 0
    os.write(opened.fd, data)
    with refused(FailedPrecondition, '"r" is still open for writing'):
        await content.write(ref="r", action="commit")
    assert (await content.status(ref="r")).offset == len(data)
    os.close(opened.fd)
    done = await content.write(ref="r", action="commit")
    assert (done.digest, done.offset) == (digest_of(data), len(data))
    assert (await content.verify(digest=done.digest)).size == len(data)


async def test_a_mapping_counts_as_a_writer(subject: Subject) -> None:
    opened = await subject.content.ingest_open(ref="r")
    os.write(opened.fd, bytes(4096))
    mapping = mmap.mmap(opened.fd, 4096)
    os.close(opened.fd)
    with refused(FailedPrecondition, '"r" is still open for writing'):
        await subject.content.write(ref="r", action="commit")
    mapping[0:1] = b"x"
    mapping.close()
    done = await subject.content.write(ref="r", action="commit")
    assert done.digest == digest_of(b"x" + bytes(4095))


async def test_an_ingest_with_a_descriptor_is_taken_up_again(subject: Subject) -> None:
    content = subject.content
    opened = await content.ingest_open(ref="r")
    os.write(opened.fd, b"hello ")
    os.close(opened.fd)
    opened = await content.ingest_open(ref="r")
    assert opened.status.offset == 6
    os.write(opened.fd, b"w")
    os.close(opened.fd)
    result = await content.write(ref="r", offset=7, data=b"orl")
    assert result.offset == 10
    done = await content.write(ref="r", action="commit", offset=10, data=b"d")
    assert done.digest == digest_of(b"hello world")


async def test_a_wrong_digest_through_a_descriptor_is_kept(subject: Subject) -> None:
    expected = digest_of(b"abc")
    opened = await subject.content.ingest_open(ref="r", expected=expected)
    os.write(opened.fd, b"abx")
    os.close(opened.fd)
    with refused(FailedPrecondition, f"expected {expected}: failed precondition"):
        await subject.content.write(ref="r", action="commit")
    opened = await subject.content.ingest_open(ref="r")
    os.pwrite(opened.fd, b"c", 2)
    os.close(opened.fd)
    done = await subject.content.write(ref="r", action="commit")
    assert done.digest == expected


# --- reading


async def test_offsets_of_a_read_count_from_the_start(subject: Subject) -> None:
    digest = await put(subject, b"0123456789")
    read = subject.content.read
    chunk = await read(digest=digest, offset=3, size=4)
    assert (chunk.offset, chunk.data) == (3, b"3456")
    assert (await read(digest=digest, offset=8, size=100)).data == b"89"
    assert (await read(digest=digest, offset=10)).data == b""
    assert (await read(digest=digest, verify=True)).data == b"0123456789"
    with refused(OutOfRange, "read past object length 10 bytes"):
        await read(digest=digest, offset=11)


async def test_a_big_blob_is_read_in_messages(subject: Subject) -> None:
    data = os.urandom((2 << 20) + 5)
    digest = await put(subject, data)
    got = b""
    while len(got) < len(data):
        chunk = await subject.content.read(digest=digest, offset=len(got))
        assert chunk.offset == len(got)
        assert 0 < len(chunk.data) <= 8 << 20
        got += chunk.data
    assert got == data


@pytest.mark.parametrize(
    ("digest", "reason"),
    [
        ("zz", "invalid checksum digest format"),
        ("sha256:zz", "invalid checksum digest length"),
        ("md5:" + "0" * 32, "unsupported digest algorithm"),
        ("sha256:" + "A" * 64, "invalid checksum digest format"),
        ("", "invalid checksum digest format"),
    ],
)
async def test_what_is_no_digest_is_refused(
    subject: Subject, digest: str, reason: str
) -> None:
    content = subject.content
    for call in (
        lambda: content.info(digest=digest),
        lambda: content.read(digest=digest),
        lambda: content.open(digest=digest),
        lambda: content.verify(digest=digest),
        lambda: content.delete(digest=digest),
        lambda: content.update(info=Info(digest=digest)),
    ):
        with refused(InvalidArgument, reason):
            await call()


async def test_a_blob_that_is_not_there_is_not_found(subject: Subject) -> None:
    content = subject.content
    digest = digest_of(b"nothing")
    out, _ = trio.open_memory_channel[bytes](1)
    for call in (
        lambda: content.info(digest=digest),
        lambda: content.read(digest=digest),
        lambda: content.fetch(digest=digest, out=out),
        lambda: content.open(digest=digest),
        lambda: content.verify(digest=digest),
        lambda: content.delete(digest=digest),
        lambda: content.update(info=Info(digest=digest)),
    ):
        with refused(NotFound, f"content digest {digest}: not found"):
            await call()


async def test_bad_arguments_of_an_ingest_are_refused(subject: Subject) -> None:
    content = subject.content
    with refused(InvalidArgument, "first message must have a reference"):
        await content.write(ref="", data=b"x")
    with refused(InvalidArgument, "offset -1"):
        await content.write(ref="r", offset=-1)
    with refused(InvalidArgument, "total -1"):
        await content.write(ref="r", total=-1)
    with refused(InvalidArgument, "invalid checksum digest format"):
        await content.write(ref="r", action="stat", expected="zz")
    with refused(InvalidArgument, "greater than maximum size (4096 bytes)"):
        await content.write(
            ref="r", action="commit", data=b"x", labels={"k": "v" * 5000}
        )
    with refused(InvalidArgument, "offset -1"):
        await content.read(digest=await put(subject, b"y"), offset=-1)
    assert (await content.list_statuses()).statuses == []


async def test_a_call_without_a_namespace_is_refused(subject: Subject) -> None:
    with (
        using(namespace=""),
        refused(FailedPrecondition, "namespace is required: failed precondition"),
    ):
        await subject.content.list()


# --- listings and labels


async def test_a_listing_is_in_order_of_the_digest_and_paged(subject: Subject) -> None:
    digests = sorted([await put(subject, bytes([n])) for n in range(20)])
    everything = await subject.content.list()
    assert [info.digest for info in everything.infos] == digests
    assert everything.next == ""
    first = await subject.content.list(limit=7)
    assert [info.digest for info in first.infos] == digests[:7]
    assert first.next == digests[6]
    rest = await subject.content.list(limit=13, after=first.next)
    assert [info.digest for info in rest.infos] == digests[7:]
    assert rest.next == ""
    with using(namespace="two"):
        assert (await subject.content.list()).infos == []
    with refused(InvalidArgument, "limit -1"):
        await subject.content.list(limit=-1)


async def test_filters_of_a_listing(subject: Subject) -> None:
    content = subject.content
    small = await put(subject, b"a")
    big = await put(subject, b"abc")
    await content.update(info=Info(digest=big, labels={"a.b.c": "x"}))

    async def found(*filters: str) -> set[str]:
        return {info.digest for info in (await content.list(filters=filters)).infos}

    assert await found(f"digest=={small}") == {small}
    assert await found("size==3") == {big}
    assert await found('labels."a.b.c"==x') == {big}
    assert await found("labels.a.b.c") == {big}
    assert await found("size==3", "size==1") == {big, small}
    assert await found("") == {big, small}
    assert await found("nosuch==1") == set()
    with refused(InvalidArgument, "filter"):
        await found("size==")


async def test_labels_are_replaced_or_changed_by_key(subject: Subject) -> None:
    content = subject.content
    digest = await put(subject, b"a")
    before = await content.info(digest=digest)
    info = await content.update(info=Info(digest=digest, labels={"a": "1", "b": "2"}))
    assert info.labels == {"a": "1", "b": "2"}
    assert info.created_at == before.created_at
    assert info.updated_at >= before.updated_at
    info = await content.update(
        info=Info(digest=digest, labels={"b": "3", "c": "4"}),
        fields=["labels.b", "labels.a"],
    )
    assert info.labels == {"b": "3"}
    assert await content.info(digest=digest) == info
    with refused(
        InvalidArgument,
        f'cannot update "size" field on content info "{digest}": invalid argument',
    ):
        await content.update(info=Info(digest=digest), fields=["size"])
    info = await content.update(info=Info(digest=digest))
    assert info.labels == {}


# --- namespaces share


async def test_namespaces_do_not_see_each_other(subject: Subject) -> None:
    digest = await put(subject, b"x")
    with using(namespace="two"), refused(NotFound, "not found"):
        await subject.content.read(digest=digest)


async def test_a_namespace_adopts_what_another_has(subject: Subject) -> None:
    content = subject.content
    digest = await put(subject, b"hello")
    with using(namespace="two"):
        stat = await content.write(ref="r", action="stat", expected=digest)
        assert (stat.offset, stat.total, stat.digest) == (5, 5, digest)
        assert (await content.status(ref="r")).offset == 5
        with refused(NotFound, "not found"):
            await content.info(digest=digest)
        done = await content.write(
            ref="r", action="commit", offset=5, labels={"mine": "1"}
        )
        assert done.digest == digest
        assert (await content.info(digest=digest)).labels == {"mine": "1"}
    assert (await content.info(digest=digest)).labels == {}
    assert subject.events() == [("one", "/content/create"), ("two", "/content/create")]


async def test_a_commit_in_one_message_adopts(subject: Subject) -> None:
    digest = await put(subject, b"hello")
    with using(namespace="two"):
        done = await subject.content.write(ref="r", action="commit", expected=digest)
        assert (done.digest, done.offset) == (digest, 5)


async def test_another_total_is_not_adopted(subject: Subject) -> None:
    digest = await put(subject, b"hello")
    with using(namespace="two"):
        stat = await subject.content.write(
            ref="r", action="stat", expected=digest, total=6
        )
        assert stat.offset == 0


async def test_writing_to_an_adopted_blob_makes_it_an_own_one(subject: Subject) -> None:
    content = subject.content
    digest = await put(subject, b"hello")
    with using(namespace="two"):
        await content.write(ref="r", action="stat", expected=digest)
        result = await content.write(ref="r", offset=5, data=b" world")
        assert (result.offset, result.digest) == (11, digest_of(b"hello world"))
        expected = digest_of(b"hello world")
        await content.write(ref="r", action="commit", offset=11, expected=expected)
        await content.write(ref="s", action="stat", expected=digest)
        result = await content.write(ref="s", data=b"bye")
        assert (result.offset, result.digest) == (3, digest_of(b"bye"))
    assert (await content.read(digest=digest)).data == b"hello"


async def test_removal_in_one_namespace_leaves_the_other(subject: Subject) -> None:
    content = subject.content
    digest = await put(subject, b"hello")
    with using(namespace="two"):
        await put(subject, b"hello", "two")
    await subject.keep(digest, "two")
    await content.delete(digest=digest)
    await subject.metadata.collect()
    with refused(NotFound, "not found"):
        await content.info(digest=digest)
    with using(namespace="two"):
        assert (await content.read(digest=digest)).data == b"hello"


async def test_an_adoption_under_way_keeps_the_bytes(subject: Subject) -> None:
    content = subject.content
    digest = await put(subject, b"hello")
    with using(namespace="two"):
        await content.write(ref="r", action="stat", expected=digest)
    await content.delete(digest=digest)
    await subject.metadata.collect()
    with using(namespace="two"):
        await content.write(ref="r", action="commit", offset=5)
        assert (await content.read(digest=digest)).data == b"hello"


async def test_a_blob_that_nobody_has_is_not_adopted(subject: Subject) -> None:
    digest = await put(subject, b"hello")
    await subject.content.delete(digest=digest)
    with using(namespace="two"):
        stat = await subject.content.write(ref="r", action="stat", expected=digest)
    assert stat.offset == 0


# --- collection and leases


async def test_what_nothing_keeps_is_collected(subject: Subject) -> None:
    content = subject.content
    kept = await put(subject, b"root")
    child = await put(subject, b"child")
    loose = await put(subject, b"loose")
    await content.update(
        info=Info(
            digest=kept,
            labels={
                "containerd.io/gc.root": "1",
                "containerd.io/gc.ref.content.l.0": child,
            },
        )
    )
    await subject.metadata.collect()
    assert {info.digest for info in (await content.list()).infos} == {kept, child}
    assert ("one", "/content/delete") in subject.events()
    with refused(NotFound, "not found"):
        await content.read(digest=loose)


async def test_a_lease_keeps_an_ingest_and_then_its_blob(subject: Subject) -> None:
    content = subject.content
    await subject.lease("l")
    with using(lease="l"):
        await content.write(ref="r", data=b"hello")
        assert subject.held("l") == [Node(INGEST, "one", "r")]
        done = await content.write(ref="r", action="commit", offset=5)
    assert subject.held("l") == [Node(CONTENT, "one", done.digest)]
    await subject.metadata.collect()
    assert (await content.read(digest=done.digest)).data == b"hello"
    await subject.end_lease("l")
    await subject.metadata.collect()
    with refused(NotFound, "not found"):
        await content.read(digest=done.digest)


async def test_an_ingest_goes_with_its_lease(subject: Subject) -> None:
    await subject.lease("l")
    with using(lease="l"):
        await subject.content.write(ref="r", data=b"hello")
    await subject.content.write(ref="s", data=b"hello")
    await subject.metadata.collect()
    await subject.end_lease("l")
    await subject.metadata.collect()
    statuses = (await subject.content.list_statuses()).statuses
    assert [status.ref for status in statuses] == ["s"]
    assert (await subject.content.write(ref="r", action="stat")).offset == 0


async def test_a_refused_blob_is_on_the_lease_all_the_same(subject: Subject) -> None:
    content = subject.content
    digest = await put(subject, b"hello")
    for name, call in (
        ("a", lambda: content.write(ref="r", action="stat", expected=digest)),
        ("b", lambda: content.write(ref="r", action="commit", data=b"hello")),
        ("c", lambda: content.ingest_open(ref="r", expected=digest)),
    ):
        await subject.lease(name)
        with using(lease=name), refused(AlreadyExists, "already exists"):
            await call()
        assert subject.held(name) == [Node(CONTENT, "one", digest)]


async def test_a_deleted_blob_leaves_the_lease_of_the_call(subject: Subject) -> None:
    await subject.lease("l")
    with using(lease="l"):
        digest = await put(subject, b"hello")
        await subject.content.delete(digest=digest)
    assert subject.held("l") == []


async def test_an_unknown_lease_is_refused_and_nothing_happens(
    subject: Subject,
) -> None:
    content = subject.content
    with using(lease="none"):
        with refused(NotFound, "lease does not exist"):
            await content.write(ref="r", action="commit", data=b"hello")
        with refused(NotFound, "lease does not exist"):
            await content.write(ref="r", data=b"hello")
    assert (await content.list()).infos == []
    assert (await content.list_statuses()).statuses == []
    assert subject.events() == []


async def test_what_a_blob_refers_to_is_an_edge(subject: Subject) -> None:
    content = subject.content
    digest = await put(subject, b"x")
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
    edges = subject.metadata.read(lambda view: view.edges(Node(CONTENT, "one", digest)))
    assert set(edges) == {
        Edge(Node(CONTENT, "one", other)),
        Edge(Node("image", "one", "docker.io/x"), back=True),
        Edge(Node("snapshot/native", "one", "s")),
    }


async def test_delete_joins_a_transaction(subject: Subject) -> None:
    content = subject.content
    digest = await put(subject, b"x")

    with pytest.raises(ZeroDivisionError):
        await subject.metadata.update(
            lambda txn: (txn.run(content.delete(digest=digest)), 1 // 0)
        )
    assert (await content.info(digest=digest)).size == 1
    await subject.metadata.update(lambda txn: txn.run(content.delete(digest=digest)))
    with refused(NotFound, "not found"):
        await content.info(digest=digest)


# --- two at once


async def test_a_ref_has_one_writer_at_a_time(subject: Subject) -> None:
    content = subject.content
    send, receive = trio.open_memory_channel[bytes](0)
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: content.ingest(ref="r", source=receive))
            await wait_all_tasks_blocked()
            with refused(Unavailable, "ref one/1/r locked for "):
                await content.write(ref="r", action="stat")
            with refused(Unavailable, ": unavailable"):
                await content.abort(ref="r")
            with using(namespace="two"):
                await content.write(ref="r", action="stat")
            await send.send(b"done")
            send.close()
    assert (await content.info(digest=digest_of(b"done"))).size == 4


async def test_of_many_who_commit_one_blob_one_succeeds(subject: Subject) -> None:
    data = os.urandom(100_000)
    outcomes: list[str] = []

    async def commit(number: int) -> None:
        try:
            await subject.content.write(ref=f"r{number}", action="commit", data=data)
            outcomes.append("ok")
        except AlreadyExists:
            outcomes.append("exists")

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            for number in range(8):
                nursery.start_soon(commit, number)
    assert sorted(outcomes) == ["exists"] * 7 + ["ok"]
    assert (await subject.content.verify(digest=digest_of(data))).size == 100_000


async def test_a_commit_calls_for_no_collection(subject: Subject) -> None:
    """Or it would remove the blob before anybody could refer to it."""
    await subject.lease("l")
    await subject.metadata.collect()
    heard: list[bool] = []
    subject.metadata.on_change(heard.append)
    for lease in ("", "l"):
        with using(namespace="one", lease=lease):
            expected = digest_of(f"abcd{lease}".encode())
            await subject.content.write(ref="r", data=b"ab", expected=expected)
            rest = f"cd{lease}".encode()
            await subject.content.write(ref="r", action="commit", offset=2, data=rest)
    assert heard
    assert not any(heard)
    with using(namespace="one", lease="l"):
        await subject.content.write(ref="r", data=b"ab")
        await subject.content.abort(ref="r")
    assert heard[-1]
