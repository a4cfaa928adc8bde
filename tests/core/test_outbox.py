# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Whatever a socket takes at a time, every byte leaves once and in order."""

from __future__ import annotations

import os

import pytest

from pluggd.core.outbox import Outbox


def drain(outbox: Outbox, step: int) -> bytes:
    """What leaves when a socket takes at most `step` bytes at a time."""
    got = b""
    while outbox.size:
        buffers, _ = outbox.peek()
        some = b"".join(buffers)[:step]
        assert some
        whole = len(some) == sum(len(data) for data in buffers)
        assert outbox.sent(len(some)) is whole
        got += some
    return got


@pytest.mark.parametrize("step", [1, 2, 3, 5, 100])
def test_messages_of_every_sort_leave_in_order(step: int) -> None:
    reader, writer = os.pipe()
    outbox = Outbox()
    outbox.put(b"ab")
    outbox.put(b"c")
    outbox.put_large(b"de", b"fghi")
    outbox.put_large(b"j", memoryview(b"klm"))
    outbox.put_with(b"nop", (writer,))
    outbox.put(b"q")
    assert outbox.size == 17
    assert drain(outbox, step) == b"abcdefghijklmnopq"
    assert outbox.size == 0
    assert os.read(reader, 1) == b""  # the other end was closed when it was sent
    os.close(reader)


def test_large_bytes_are_not_copied() -> None:
    outbox = Outbox()
    tail = bytes(100_000)
    outbox.put(b"small")
    outbox.put_large(b"head", tail)
    buffers, _ = outbox.peek()
    assert buffers[0] == b"smallhead"
    assert buffers[1] is tail


def test_what_is_dropped_half_sent_is_gone() -> None:
    outbox = Outbox()
    outbox.put_large(b"head", b"tail")
    outbox.peek()
    outbox.sent(5)
    outbox.clear()
    assert outbox.size == 0
    assert outbox.sent(3) is True
    outbox.put(b"next")
    assert drain(outbox, 10) == b"next"
