# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What the author of a plugin is promised of `pluggd.plugin`."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pluggy
import pytest

from pluggd.errors import NotFound
from pluggd.model.record import Encoded, Record, encode
from pluggd.plugin import (
    INLINE_ATTRIBUTE,
    PROJECT,
    Context,
    NoConfig,
    PluggdSpec,
    Registration,
    hookimpl,
    inline,
    inline_encoded,
)
from pluggd.services.images import IMAGES, Image, Images


class Shelf:
    """A store whose methods never wait."""

    def __init__(self) -> None:
        self.calls = 0

    @inline
    def count(self, *, name: str, times: int = 1) -> int:
        """How often it was asked."""
        self.calls += times
        if not name:
            raise NotFound("nobody: not found")
        return self.calls

    @inline_encoded
    def get(self, *, name: str) -> Encoded[Image]:
        """One image."""
        self.calls += 1
        return Encoded(encode(Image(name=name)), Image)

    @inline_encoded
    def broken(self) -> Encoded[Image]:
        raise NotFound("image: not found")


async def test_an_inline_method_is_awaited_in_process() -> None:
    shelf = Shelf()
    assert await shelf.count(name="a", times=2) == 2
    assert await shelf.get(name="a") == Image(name="a")


async def test_nothing_runs_before_it_is_awaited() -> None:
    shelf = Shelf()
    waiting = shelf.count(name="a")
    assert shelf.calls == 0
    await waiting
    assert shelf.calls == 1


async def test_errors_of_an_inline_method_reach_the_caller() -> None:
    with pytest.raises(NotFound, match="nobody"):
        await Shelf().count(name="")
    with pytest.raises(NotFound, match="image"):
        await Shelf().broken()


def test_the_server_finds_the_function_itself() -> None:
    shelf = Shelf()
    count = getattr(Shelf.count, INLINE_ATTRIBUTE)
    assert not inspect.iscoroutinefunction(count)
    assert count(shelf, name="a") == 1
    stored = getattr(Shelf.get, INLINE_ATTRIBUTE)(shelf, name="b")
    assert isinstance(stored, Encoded)
    assert stored.data == encode(Image(name="b"))


@pytest.mark.parametrize("method", [Shelf.count, Shelf.get])
def test_an_inline_method_keeps_its_face(method: object) -> None:
    assert inspect.iscoroutinefunction(method)
    inner = getattr(method, INLINE_ATTRIBUTE)
    assert inspect.getdoc(method) == inspect.getdoc(inner)
    assert inspect.signature(inner) == inspect.signature(inspect.unwrap(inner))


class Options(Record, frozen=True):
    size: int = 1


@asynccontextmanager
async def start(ctx: Context[Options]) -> AsyncGenerator[Images]:
    raise AssertionError("nothing starts here")
    yield  # pragma: no cover


class Module:
    @hookimpl
    def pluggd_register(self) -> Registration[Images, Options]:
        return Registration(provides=IMAGES, id="mine", start=start, config=Options)


def test_a_registration_is_named_by_its_kind_and_id() -> None:
    registration = Module().pluggd_register()
    assert registration.uri == "pluggd.images.v1.mine"
    assert (registration.requires, registration.wants) == ((), ())
    assert registration.deadline is None


def test_a_plugin_without_options_needs_no_record() -> None:
    @asynccontextmanager
    async def plain(ctx: Context[NoConfig]) -> AsyncGenerator[Images]:
        raise AssertionError("nothing starts here")
        yield  # pragma: no cover

    registration: Registration[Images, NoConfig] = Registration(
        provides=IMAGES, id="plain", start=plain
    )
    assert registration.config is NoConfig


def test_the_hook_of_a_module_is_found_and_called() -> None:
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(PluggdSpec)
    manager.register(Module())
    manager.check_pending()
    [registration] = manager.hook.pluggd_register()
    assert registration.uri == "pluggd.images.v1.mine"


def test_a_specification_is_not_called() -> None:
    with pytest.raises(AssertionError):
        PluggdSpec().pluggd_register()
