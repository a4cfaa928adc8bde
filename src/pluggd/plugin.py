# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What the author of a plugin imports, and the author's manual.

A plugin is a module or a package with one function:

    from pluggd.plugin import Context, Registration, hookimpl

    @asynccontextmanager
    async def start(ctx: Context[Config]) -> AsyncGenerator[Images]:
        metadata = ctx.get(METADATA)
        await metadata.open_table("images")
        yield ImageStore(metadata)

    @hookimpl
    def pluggd_register() -> Registration[Images, Config]:
        return Registration(
            provides=IMAGES, id="store", start=start, config=Config, requires=(METADATA,)
        )

The life of a plugin, in order:

1. Found: its module is imported and `pluggd_register` is called. Both must be free
   of side effects; an exception here makes this plugin *failed* and no other.
2. Configured: its section of config.toml becomes a `config` record. A wrong key or
   type stops the daemon before anything starts.
3. Placed: after the plugins that provide what it `requires` and `wants`. When a
   required one did not come up, it is *blocked*, with the first cause in its reason.
4. Started: `start` is entered, within a deadline. Before `yield` nothing it offers
   is visible. Raise `Skip(reason)` when it does not apply here (*skipped*); any other
   exception makes it *failed*. What it yields is what others `get`.
5. Serving: when every plugin has had its turn, its methods can be called over the socket.
6. Stopped: in reverse order, the code after `yield` runs, within a deadline. It must be
   cancellable, and nothing it started may outlive it.

Background work goes through `ctx.spawn`; do not open a nursery around `yield`: a
crash inside it would look like a crash of the whole daemon.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from types import CoroutineType
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar

import pluggy

from pluggd.deferred import Deferred as Deferred
from pluggd.model.api import API as API
from pluggd.model.figures import Figure
from pluggd.model.record import Encoded, Record
from pluggd.model.types import Platform
from pluggd.services.kind import Kind
from pluggd.services.rpc import Unfinished as Unfinished
from pluggd.struct import Struct, field

T = TypeVar("T")
C = TypeVar("C", bound=Record)
C_co = TypeVar("C_co", bound=Record, covariant=True)
S = TypeVar("S")
P = ParamSpec("P")

FigureSource = Callable[[], Iterable[Figure] | Awaitable[Iterable[Figure]]]
"""What `Context.export_figures` takes: a plain or an async function."""

PROJECT = "pluggd"
ENTRY_POINT_GROUP = "pluggd.plugins"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class Skip(Exception):
    """Raised in `start`: this plugin does not apply here. The reason is for the operator."""


class NoConfig(Record, frozen=True):
    """The config record of a plugin that has no options."""


class Context(Protocol[C_co]):
    """What a plugin is given when it starts."""

    @property
    def uri(self) -> str:
        """`<kind>.<id>`."""
        ...

    @property
    def config(self) -> C_co:
        """Its section of the configuration, defaults filled in."""
        ...

    @property
    def root(self) -> Path:
        """Its directory for what must survive a reboot; exists, mode 0700."""
        ...

    @property
    def state(self) -> Path:
        """Its directory for what need not; exists, mode 0711."""
        ...

    @property
    def log(self) -> logging.LoggerAdapter[logging.Logger]:
        """A logger whose lines carry the plugin."""
        ...

    def get(self, kind: Kind[T]) -> T:
        """The selected provider of a kind that this plugin requires or wants.

        Raises FailedPrecondition for an undeclared kind or an ambiguous choice (with
        the candidates), NotFound for a wanted one that is not there.
        """
        ...

    def get_all(self, kind: Kind[T]) -> dict[str, T]:
        """All working providers of a declared kind, by id."""
        ...

    def find(self, kind: Kind[T]) -> T | None:
        """As `get`, with None instead of NotFound."""
        ...

    def decorated(self, kind: Kind[T]) -> T:
        """The provider of its own kind that this plugin is put over: the selected one,
        or the decorator before it.

        Raises FailedPrecondition when the registration does not say that it decorates.
        """
        ...

    def spawn(
        self,
        function: Callable[..., Awaitable[object]],
        *args: object,
        name: str | None = None,
    ) -> None:
        """Run a task until the plugin stops; it is cancelled before `start` goes on
        after `yield`. If it raises, the plugin becomes *failed* and the rest goes on."""
        ...

    def on_stop(self, function: Callable[[], object]) -> None:
        """Call this when the plugin has stopped, the last one first; for what was begun
        with another plugin, as in `ctx.on_stop(metadata.on_commit(heard))`.

        It must not wait; what it raises goes to the log.
        """
        ...

    def on_reload(self, function: Callable[[C_co], None]) -> None:
        """Take new options while running: called with the new record when a reload of
        the configuration changes only options that the registration names in `live`.

        It must not wait. If it raises, the plugin is started anew instead, as it is for
        all other options.
        """
        ...

    def degraded(self, reason: str) -> None:
        """Say that it works badly and why, or with "" that it is well again; shown as
        the reason of its status in `plugins ls`."""
        ...

    def export(self, key: str, value: str) -> None:
        """Show a fact in `plugins ls -d`; kept also when the start fails later."""
        ...

    def export_figures(self, source: FigureSource) -> None:
        """Show numbers in `pluggctl stats` and to monitoring (`pluggd.model.figures`).

        source: called whenever somebody asks, as long as the plugin is *ok*; it gets a
        second and must not block. Each figure gets the label `plugin`. If it raises, the
        figures of this plugin are left out and the log says why, once.
        """
        ...

    def capability(self, name: str) -> None:
        """State that this plugin can do something that others may ask for."""
        ...

    def platform(self, platform: Platform) -> None:
        """State a platform that this plugin works for; most preferred first."""
        ...


class Registration(Struct, Generic[T, C], frozen=True):
    """What a plugin says about itself.

    id: names the provider within its kind; an identifier (docs/rpc.md).
    requires: kinds without which it cannot work. wants: kinds that it uses when they
        are there; it starts after them either way.
    deadline: seconds that start and stop may take, each; None for the daemon's default.
    live: options that it takes while it runs (`Context.on_reload`); a reload that
        changes another one starts it anew.
    alternative: another way to provide a kind, where two at a time would do one work
        twice: it starts only when [select] names it, and then the others do not.
    decorates: it provides its kind over another provider, which it gets from
        `Context.decorated`. It starts only when [decorate] names it; then whoever uses
        the kind gets this one, and nothing else of the kind while it does not work.
    api: the plugin API that it was written for, as `pluggd.plugin.API` was then; a
        daemon with an older one refuses it, one that deprecates it says so. "" for
        whatever there is.
    """

    provides: Kind[T]
    id: str
    start: Callable[[Context[C]], AbstractAsyncContextManager[T]]
    config: type[C] = NoConfig  # type: ignore[assignment]
    requires: tuple[Kind[Any], ...] = ()
    wants: tuple[Kind[Any], ...] = ()
    deadline: float | None = None
    description: str = field(default="")
    live: tuple[str, ...] = ()
    alternative: bool = False
    decorates: bool = False
    api: str = ""

    @property
    def uri(self) -> str:
        return f"{self.provides.name}.{self.id}"


class PluggdSpec:
    """The hooks. There is one."""

    @hookspec
    def pluggd_register(
        self,
    ) -> Registration[Any, Any] | list[Registration[Any, Any]]:
        """Describe the plugin or plugins of this module; no side effects, no waiting."""
        raise AssertionError("a specification is not called")


INLINE_ATTRIBUTE = "__pluggd_inline__"


def inline(
    function: Callable[Concatenate[S, P], T],
) -> Callable[Concatenate[S, P], CoroutineType[Any, Any, T]]:
    """Make a plain function a service method that never waits.

    The server calls the function itself, in its own task, so it must return within
    some 50 microseconds and must not block. In process it is awaited like any other.
    """

    @functools.wraps(function)
    async def face(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return function(self, *args, **kwargs)

    setattr(face, INLINE_ATTRIBUTE, function)
    return face  # type: ignore[return-value]  # mypy has no name for what async def makes


def inline_encoded(
    function: Callable[Concatenate[S, P], Encoded[T] | Unfinished[T]],
) -> Callable[Concatenate[S, P], CoroutineType[Any, Any, T]]:
    """As `inline`, for a function that returns stored bytes: the server sends them as
    they are, and a caller in process gets the decoded value.

    One that finds out that it would take too long returns `Unfinished`, and the rest
    runs as a task.
    """

    @functools.wraps(function)
    async def face(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        found = function(self, *args, **kwargs)
        if isinstance(found, Unfinished):
            found = await found.finish()
        return found.value

    setattr(face, INLINE_ATTRIBUTE, function)
    return face  # type: ignore[return-value]  # mypy has no name for what async def makes


DEFERRED_ATTRIBUTE = "__pluggd_deferred__"


def deferred(
    function: Callable[Concatenate[S, P], Deferred[T] | CoroutineType[Any, Any, T]],
) -> Callable[Concatenate[S, P], CoroutineType[Any, Any, T]]:
    """Make a plain function that returns a `Deferred` a service method.

    Or a coroutine, when it turns out that there is more to wait for: that is run as if
    the method were an async one.

    For methods whose work is done elsewhere, together with that of others. The server
    calls the function itself, as an `inline` one and under the same conditions, in
    the order of the requests, and answers when it is done: no task waits for it. In
    process it is awaited like any other. Who gives up waiting does not stop what was
    begun.
    """

    @functools.wraps(function)
    async def face(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        outcome = function(self, *args, **kwargs)
        return await (outcome.wait() if isinstance(outcome, Deferred) else outcome)

    setattr(face, DEFERRED_ATTRIBUTE, function)
    return face  # type: ignore[return-value]  # mypy has no name for what async def makes
