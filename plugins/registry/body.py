# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The bytes of a blob as they come: as many as were announced, from where it was asked."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

import httpx2

from pluggd.errors import DataLoss
from pluggd.model.types import Descriptor

from .server import Server

PIECE = 1 << 20
"""Bytes that are handed on at once."""


async def exactly(
    response: httpx2.Response,
    server: Server,
    descriptor: Descriptor,
    offset: int,
    name: str = "",
) -> AsyncGenerator[bytes]:
    """The bytes from `offset` to the size of the descriptor, no less and no more.

    name: of who sends them, when it is not the server's host.
    """
    name = name or server.host.name
    skip = 0
    if response.status_code == 206:
        start = response.headers.get("content-range", "").removeprefix("bytes ")
        if start.partition("-")[0] != str(offset):
            raise DataLoss(
                f"{name} sent another part of {descriptor.digest} than "
                f"that from {offset}: data loss"
            )
    else:
        skip = offset  # it does not know ranges, so all of it comes again
    remaining = descriptor.size - offset
    length = length_of(response)
    if length is not None and length != remaining + skip:
        raise _other_size(name, descriptor)
    pending: list[bytes] = []
    held = 0
    try:
        async with aclosing(response.aiter_raw()) as parts:
            async for part in parts:
                server.totals.received += len(part)
                if skip:
                    part, skip = part[skip:], max(0, skip - len(part))
                remaining -= len(part)
                if remaining < 0:
                    raise _other_size(name, descriptor)
                pending.append(part)
                held += len(part)
                if held >= PIECE:
                    yield b"".join(pending)
                    pending.clear()
                    held = 0
    except httpx2.TransportError:
        if pending:  # what came is good; the next connection goes on behind it
            yield b"".join(pending)
        raise
    if remaining:
        raise _other_size(name, descriptor)
    if pending:
        yield b"".join(pending)


def _other_size(name: str, descriptor: Descriptor) -> DataLoss:
    return DataLoss(
        f"{name} has not {descriptor.size} bytes for {descriptor.digest}, "
        "as the manifest says: data loss"
    )


def length_of(response: httpx2.Response) -> int | None:
    """What Content-Length says; None without one."""
    text = response.headers.get("content-length", "")
    return int(text) if text.isdigit() and len(text) < 20 else None
