# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What waits to be sent on one connection: bytes, and descriptors at their place.

Knows no socket: a server looks at the next piece, sends what it can and says how
much that was. Small messages are joined, large bytes go out as they lie. The outbox
owns the descriptors in it, and closes them once sent.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Sequence

Buffers = Sequence[bytes | memoryview]
Piece = tuple[Buffers, tuple[int, ...]]


class Outbox:
    """A queue of encoded messages. `size`: bytes in it."""

    __slots__ = ("_chunks", "_head", "_sealed", "size")

    def __init__(self) -> None:
        self.size = 0
        self._head: Piece | None = None
        self._sealed: deque[Piece] = deque()
        self._chunks: list[bytes] = []

    def put(self, data: bytes) -> None:
        """Add one message."""
        self._chunks.append(data)
        self.size += len(data)

    def put_with(self, data: bytes, fds: tuple[int, ...]) -> None:
        """Add one message whose bytes carry descriptors."""
        self._seal()
        self._sealed.append(([data], fds))
        self.size += len(data)

    def put_large(self, head: bytes, tail: bytes | memoryview) -> None:
        """Add one message in two parts. The second is not copied and must not change."""
        self._chunks.append(head)
        self._sealed.append(([b"".join(self._chunks), tail], ()))
        self._chunks.clear()
        self.size += len(head) + len(tail)

    def peek(self) -> Piece:
        """The next bytes, in one buffer or some that belong together, and the
        descriptors that go with the first of them.

        Only when `size` is not 0.
        """
        head = self._head
        if head is None:
            if self._sealed:
                head = self._sealed.popleft()
            else:
                chunks = self._chunks
                head = ([chunks[0] if len(chunks) == 1 else b"".join(chunks)], ())
                chunks.clear()
            self._head = head
        return head

    def sent(self, count: int) -> bool:
        """So many of the bytes last seen have left, and with the first of them their
        descriptors. Whether that was all of them."""
        if self._head is None:
            return True  # cleared meanwhile
        buffers, fds = self._head
        if count and fds:
            close_all(fds)
            fds = ()
        self.size -= count
        for position, data in enumerate(buffers):
            if count < len(data):
                rest: Buffers = [memoryview(data)[count:], *buffers[position + 1 :]]
                self._head = (rest, fds)
                return False
            count -= len(data)
        self._head = None
        return True

    def clear(self) -> None:
        """Drop everything and close the descriptors."""
        if self._head is not None:
            close_all(self._head[1])
        for _, fds in self._sealed:
            close_all(fds)
        self._head = None
        self._sealed.clear()
        self._chunks.clear()
        self.size = 0

    def _seal(self) -> None:
        if self._chunks:
            self._sealed.append(([b"".join(self._chunks)], ()))
            self._chunks.clear()


def close_all(fds: Iterable[int]) -> None:
    """Close descriptors that nobody claimed."""
    for fd in fds:
        os.close(fd)
