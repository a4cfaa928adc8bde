# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What plugin authors see, as types: checked by mypy and pyright, never run.

If a line here needs a cast or an ignore, the interface for authors has become worse.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol, assert_type

from pluggd.model.record import Record
from pluggd.plugin import Context, NoConfig, Registration, Skip, hookimpl, inline
from pluggd.services.daemon import DAEMON, Daemon
from pluggd.services.images import IMAGES, Images
from pluggd.services.kind import Kind
from pluggd.services.metadata import METADATA, Metadata
from pluggd.services.rpc import rpc


class Greeter(Protocol):
    @rpc(result="text")
    async def greet(self, *, name: str = "") -> str: ...


GREETER = Kind("example.greeter.v1", Greeter)


class Config(Record, frozen=True):
    word: str = "hello"


class PoliteGreeter:
    def __init__(self, word: str) -> None:
        self._word = word

    @inline
    def greet(self, *, name: str = "") -> str:
        return f"{self._word} {name}"


async def background(count: int, *names: str) -> None: ...


@asynccontextmanager
async def start(ctx: Context[Config]) -> AsyncGenerator[Greeter]:
    assert_type(ctx.config.word, str)
    assert_type(ctx.get(METADATA), Metadata)
    assert_type(ctx.find(IMAGES), Images | None)
    assert_type(ctx.get_all(GREETER), dict[str, Greeter])
    ctx.spawn(background, 3, "x", name="background")
    ctx.log.info("started", extra={"word": ctx.config.word})
    if not ctx.config.word:
        raise Skip("no word")
    yield PoliteGreeter(ctx.config.word)


@asynccontextmanager
async def start_plain(ctx: Context[NoConfig]) -> AsyncGenerator[Sequence[str]]:
    assert_type(ctx.get(DAEMON), Daemon)
    yield ["plain"]


@hookimpl
def pluggd_register() -> list[Registration[Any, Any]]:
    greeter = Registration(
        provides=GREETER,
        id="polite",
        start=start,
        config=Config,
        requires=(METADATA,),
        wants=(IMAGES,),
    )
    assert_type(greeter, Registration[Greeter, Config])
    assert_type(greeter.uri, str)
    return [greeter]
