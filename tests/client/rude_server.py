# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""A server that greets, takes `calls` requests and hangs up without an answer."""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from pluggd.wire.decoder import Decoder
from pluggd.wire.encoder import encode_result, encode_value
from pluggd.wire.limits import TRUSTING
from pluggd.wire.messages import HELLO, Request


@asynccontextmanager
async def rude_server(path: Path, calls: int) -> AsyncGenerator[str]:
    listener = trio.socket.socket(socket.AF_UNIX)
    await listener.bind(str(path / "rude"))
    listener.listen()

    async def serve() -> None:
        peer, _ = await listener.accept()
        decoder = Decoder(TRUSTING)
        taken = 0
        while taken < calls:
            for message in decoder.feed(await peer.recv(65536)):
                if not isinstance(message, Request):
                    continue
                if message.method == HELLO:
                    welcome = encode_value({"features": ["streams"]})
                    await peer.send(encode_result(message.msgid, welcome))
                else:
                    taken += 1
        peer.close()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        yield str(path / "rude")
        nursery.cancel_scope.cancel()
    listener.close()
