# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Servers that do what the real one does not: hang up, answer what was cancelled."""

from __future__ import annotations

import socket
from array import array
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from pluggd.wire.decoder import Decoder
from pluggd.wire.encoder import encode_fds, encode_result, encode_value
from pluggd.wire.limits import TRUSTING
from pluggd.wire.messages import CANCEL, HELLO, Notification, Request


class RudeServer:
    """address: where it listens. requests: what it took, without the greeting."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.requests: list[Request] = []


@asynccontextmanager
async def rude_server(path: Path, calls: int) -> AsyncGenerator[RudeServer]:
    """Take `calls` requests of one client and hang up without an answer."""
    server = RudeServer(str(path / "rude"))

    async def serve(peer: trio.socket.SocketType) -> None:
        decoder = Decoder(TRUSTING)
        while len(server.requests) < calls:
            for message in decoder.feed(await peer.recv(65536)):
                if isinstance(message, Request) and not await greeted(peer, message):
                    server.requests.append(message)

    async with accepting(server.address, serve):
        yield server


@asynccontextmanager
async def late_server(path: Path, fd: int) -> AsyncGenerator[RudeServer]:
    """Answer a call with a descriptor once it was cancelled, and the next with nil."""
    server = RudeServer(str(path / "late"))

    async def serve(peer: trio.socket.SocketType) -> None:
        decoder = Decoder(TRUSTING)
        while data := await peer.recv(65536):
            for message in decoder.feed(data):
                if isinstance(message, Notification) and message.method == CANCEL:
                    (msgid,) = message.params
                    answer = encode_fds(msgid, 1) + encode_result(msgid)
                    rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", [fd]))
                    await peer.sendmsg([answer], [rights])
                elif isinstance(message, Request) and not await greeted(peer, message):
                    server.requests.append(message)
                    if len(server.requests) > 1:
                        await peer.send(encode_result(message.msgid))

    async with accepting(server.address, serve):
        yield server


async def greeted(peer: trio.socket.SocketType, request: Request) -> bool:
    """Whether the request was a greeting, which is answered."""
    if request.method != HELLO:
        return False
    welcome = encode_value({"features": ["fds", "streams"]})
    await peer.send(encode_result(request.msgid, welcome))
    return True


@asynccontextmanager
async def accepting(
    address: str, serve: Callable[[trio.socket.SocketType], Awaitable[None]]
) -> AsyncGenerator[None]:
    """Serve one client while the block runs."""
    with trio.socket.socket(socket.AF_UNIX) as listener:
        await listener.bind(address)
        listener.listen()

        async def run() -> None:
            peer, _ = await listener.accept()
            with peer:
                await serve(peer)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            yield
            nursery.cancel_scope.cancel()
