# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Descriptors that came over a connection, from the socket to the argument that names one.

Each has exactly one owner: the socket's reader hands it over here, a request claims
it, its method closes it. What nobody claims is closed here. The rules are those of
"File descriptors" in docs/rpc.md; `$/fds` announces, the next request claims.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

from pluggd.core.dispatch import Method
from pluggd.core.outbox import close_all
from pluggd.errors import InvalidArgument
from pluggd.wire.errors import LimitExceeded, Malformed
from pluggd.wire.messages import FDS


class Descriptors:
    """Those of one connection. limit: of one message."""

    __slots__ = ("_claim", "_limit", "_loose")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._loose: deque[int] = deque()
        self._claim: tuple[int, list[int]] | None = None

    def add(self, fds: Sequence[int]) -> None:
        """Take over what came with some bytes."""
        self._loose.extend(fds)

    def announced(self, msgid: int, count: int) -> None:
        """The next message, of this number, carries `count` of those that came.

        Raises Malformed, or LimitExceeded, for what is not so.
        """
        if self._claim is not None:
            raise Malformed(f"{FDS} twice before one message")
        if not 0 < count <= self._limit:
            raise LimitExceeded(f"a message may carry {self._limit} descriptors")
        if len(self._loose) < count:
            raise Malformed(
                f"{FDS} announced {count} descriptors and {len(self._loose)} came"
            )
        self._claim = (msgid, [self._loose.popleft() for _ in range(count)])

    @property
    def claimed(self) -> bool:
        """Whether the next request has some."""
        return self._claim is not None

    def take(self, msgid: int) -> list[int]:
        """What was announced for this request, which is the next one; the caller owns it.

        Raises Malformed when another one was named.
        """
        if self._claim is None:
            return []
        named, fds = self._claim
        self._claim = None
        if named != msgid:
            close_all(fds)
            raise Malformed(f"{FDS} named another request than the next")
        return fds

    def drop_loose(self) -> None:
        """Close what nobody announced."""
        if self._loose:
            close_all(self._loose)
            self._loose.clear()

    def close(self) -> None:
        """Close all that are here."""
        self.drop_loose()
        if self._claim is not None:
            close_all(self._claim[1])
            self._claim = None


def bind(method: Method, arguments: dict[str, Any], fds: list[int]) -> None:
    """Replace indexes in the arguments by descriptors; those are taken out of `fds`.

    Raises InvalidArgument for an index of none, and for one that is named twice.
    """
    taken: set[int] = set()
    claims: dict[str, int] = {}
    for name in method.schema.fds:
        index = arguments.get(name)
        if index is None:
            continue
        if type(index) is not int or not 0 <= index < len(fds) or index in taken:
            raise InvalidArgument(
                f'{method.name}: argument "{name}" is the index of a descriptor '
                f"that comes with the request, of which there are {len(fds)}"
            )
        taken.add(index)
        claims[name] = index
    for name, index in claims.items():
        arguments[name] = fds[index]
    fds[:] = [fd for index, fd in enumerate(fds) if index not in taken]
