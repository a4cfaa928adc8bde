# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Which proxy plugins the configuration asks for, as if they had been found on disk."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import AsyncGenerator, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import trio

from pluggd import services
from pluggd.core.arguments import did_you_mean
from pluggd.core.discovery import Found
from pluggd.core.failure import Failure
from pluggd.core.settings import ProxySettings, Settings, short_kind
from pluggd.errors import InvalidArgument, PluggdError
from pluggd.model.identifiers import validate_identifier
from pluggd.plugin import Context, NoConfig, Registration
from pluggd.proxy.link import Link
from pluggd.proxy.stub import make_proxy
from pluggd.services.kind import Kind
from pluggd.services.schema import has_methods, service_schema


@dataclass(frozen=True)
class ProxyStart:
    """The start of a proxy plugin; equal to another one of the same settings, so that a
    reload does not take an unchanged proxy for a new one."""

    kind: Kind[Any]
    settings: ProxySettings

    def __call__(self, ctx: Context[NoConfig]) -> AbstractAsyncContextManager[Any]:
        return self._start(ctx)

    @asynccontextmanager
    async def _start(self, ctx: Context[NoConfig]) -> AsyncGenerator[Any]:
        settings = self.settings
        link = Link(
            settings.address,
            heartbeat=settings.heartbeat,
            degraded=ctx.degraded,
            log=ctx.log,
        )
        ctx.export("address", settings.address)
        ctx.export_figures(link.figures)
        ctx.spawn(link.run, name="link")
        # Whoever needs it may use it in his own start; who is not there yet may come.
        with trio.move_on_after(settings.heartbeat):
            await link.first_attempt()
        yield make_proxy(
            self.kind,
            link.connection,
            address=settings.address,
            timeout=settings.timeout,
        )


def proxies(settings: Settings, found: Iterable[Found]) -> list[Found]:
    """A plugin for each entry of [proxy_plugins], those that cannot work with their
    reason. found: the other plugins, whose kinds can be provided as well."""
    if not settings.proxy_plugins:
        return []
    kinds = _known_kinds(found)
    return [
        _proxy(name, entry, kinds) for name, entry in settings.proxy_plugins.items()
    ]


def _proxy(name: str, entry: ProxySettings, kinds: dict[str, Kind[Any]]) -> Found:
    place = f"proxy_plugins.{name}"
    try:
        kind = _kind(entry.kind, kinds)
        validate_identifier(name)
        if not entry.address.startswith("/"):
            raise InvalidArgument("address must be the path of a socket")
        check_proxied(kind)
    except PluggdError as error:
        named: Registration[Any, Any] = Registration(
            Kind(kinds.get(entry.kind, Kind(entry.kind, object)).name, object),
            name,
            ProxyStart(Kind(entry.kind, object), entry),
        )
        failure = Failure(f"{place}: {error.message}", error.code)
        return Found(place, entry.address, "proxy", named, failure)
    registration: Registration[Any, Any] = Registration(
        provides=kind,
        id=name,
        start=ProxyStart(kind, entry),
        description=f"Answered by another process, at {entry.address}",
    )
    return Found(place, entry.address, "proxy", registration)


def _kind(name: str, kinds: dict[str, Kind[Any]]) -> Kind[Any]:
    for kind in kinds.values():
        if name in (kind.name, kind.service, short_kind(kind.name)):
            return kind
    raise InvalidArgument(
        f'no plugin knows the kind "{name}"{did_you_mean(name, kinds)}; a file in'
        " plugin_dirs that requires or wants it makes it known"
    )


def check_proxied(kind: Kind[Any]) -> None:
    """Whether all of the interface can go over a socket, where clients may use it or
    not. Raises InvalidArgument."""
    if not has_methods(kind):
        raise InvalidArgument(f"{kind} is used in process only and cannot be proxied")
    served = {method.attribute for method in service_schema(kind).methods}
    own = {
        name
        for cls in kind.interface.__mro__
        if cls is not object and getattr(cls, "_is_protocol", False)
        for name, value in vars(cls).items()
        if callable(value) and not name.startswith("_")
    }
    missing = sorted(own - served)
    if missing:
        raise InvalidArgument(
            f"{kind} cannot be proxied: {', '.join(missing)} work in process only"
        )


def _known_kinds(found: Iterable[Found]) -> dict[str, Kind[Any]]:
    """Those of `pluggd.services`, and those that a plugin provides or asks for."""
    kinds: dict[str, Kind[Any]] = {}
    for module in pkgutil.iter_modules(services.__path__):
        loaded = importlib.import_module(f"{services.__name__}.{module.name}")
        for value in vars(loaded).values():
            if isinstance(value, Kind):
                kinds.setdefault(value.name, value)  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
    for one in found:
        registration = one.registration
        if registration is None or one.failure is not None:
            continue
        for kind in (
            registration.provides,
            *registration.requires,
            *registration.wants,
        ):
            kinds.setdefault(kind.name, kind)
    return kinds
