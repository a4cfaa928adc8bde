# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Whether what `pluggd_register` returned can be a plugin.

Authors may write without types, so nothing is taken for granted; what is refused here is
that plugin's failure, with the rule and the way out.
"""

from __future__ import annotations

import inspect
import re
from functools import partial
from typing import Any

from pluggd.core.arguments import arguments_of
from pluggd.errors import InvalidArgument
from pluggd.model.api import judge
from pluggd.model.identifiers import validate_identifier
from pluggd.model.record import Record
from pluggd.plugin import Registration
from pluggd.services.daemon import DAEMON
from pluggd.services.hello import RPC
from pluggd.services.kind import Kind
from pluggd.services.schema import service_schema
from pluggd.struct import as_map

_KIND_NAME = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*\.v[0-9]+")

OWN_KINDS = "pluggd.services."
"""Modules that begin so declare the kinds that come with pluggd."""


def require_registration(value: object, name: str) -> None:
    """It must have a kind and an id, or it has no URI to report anything under. Raises
    InvalidArgument."""
    given = partial(getattr, value)
    if not isinstance(value, Registration):
        raise InvalidArgument(
            f"pluggd_register of {name} returned a {type(value).__qualname__}, not a"
            " Registration: return one, or a list of them: invalid argument"
        )
    for field, type_ in (("provides", Kind), ("id", str)):
        if not isinstance(given(field), type_):
            raise InvalidArgument(
                f"pluggd_register of {name}: {field} must be a {type_.__name__}, not"
                f" {given(field)!r}: invalid argument"
            )


def validate(registration: Registration[Any, Any]) -> None:
    """Raises InvalidArgument for the first thing that is wrong, with the way out; and
    whatever the author's own record may raise."""
    try:
        validate_identifier(registration.id)
    except InvalidArgument as error:
        raise InvalidArgument(f"id: {error.message}") from None
    given = as_map(registration)
    # First: what else is wrong may be so because of it.
    if given["api"]:
        try:
            judge(str(given["api"]))
        except InvalidArgument as error:
            raise InvalidArgument(
                f"plugin {registration.uri} {error.message}"
            ) from None
    for field in ("requires", "wants"):
        if not isinstance(given[field], (tuple, list)):
            raise InvalidArgument(
                f"plugin {registration.uri}: {field} must be a tuple of kinds, as in"
                f" {field}=(IMAGES,), not {given[field]!r}: invalid argument"
            )
    kinds: list[Any] = [registration.provides, *given["requires"], *given["wants"]]
    for kind in kinds:
        if not isinstance(kind, Kind):
            raise InvalidArgument(
                f"plugin {registration.uri}: requires and wants hold kinds, not"
                f" {kind!r}: invalid argument"
            )
        if not _KIND_NAME.fullmatch(kind.name):
            raise InvalidArgument(
                f"plugin {registration.uri}: kind {kind.name!r} must be dotted lower-case"
                ' names that end in a version, as in "pluggd.images.v1": invalid argument'
            )
    interface: Any = registration.provides.interface
    if not isinstance(interface, type):
        raise InvalidArgument(
            f"plugin {registration.uri}: the interface of a kind must be a class, as in"
            f' Kind("{registration.provides.name}", Interface), not {interface!r}:'
            " invalid argument"
        )
    if registration.provides.name in (DAEMON.name, RPC.name):
        raise InvalidArgument(
            f"plugin {registration.uri}: kind {registration.provides.name} is the daemon's"
            " own, which no plugin provides: make a kind of another name: invalid argument"
        )
    config: Any = registration.config
    if not isinstance(config, type) or not issubclass(config, Record):
        raise InvalidArgument(
            f"plugin {registration.uri}: config must be a Record class: invalid argument"
        )
    try:
        config()
    except TypeError as error:
        raise InvalidArgument(
            f"plugin {registration.uri}: every field of {config.__name__}"
            f" needs a default ({error}): invalid argument"
        ) from error
    except Exception as error:
        text = str(error).removesuffix(": invalid argument")
        raise InvalidArgument(
            f"plugin {registration.uri}: {config.__name__} refuses its own defaults"
            f" ({text}), and with them every file that does not name all options: choose"
            " defaults that it takes: invalid argument"
        ) from error
    live: Any = given["live"]
    if isinstance(live, str):
        raise InvalidArgument(
            f"plugin {registration.uri}: live must be a tuple of names, as in"
            f' live=("limit",), not {live!r}: invalid argument'
        )
    unknown = [name for name in live if name not in config.__struct_fields__]
    if unknown:
        raise InvalidArgument(
            f"plugin {registration.uri}: live names {', '.join(map(repr, unknown))}, which"
            f" {config.__name__} does not have: invalid argument"
        )
    if registration.alternative and registration.decorates:
        raise InvalidArgument(
            f"plugin {registration.uri}: what decorates a kind stands over a provider of"
            " it and is no alternative to one; leave out one of the two: invalid argument"
        )
    if not callable(registration.start):
        raise InvalidArgument(
            f"plugin {registration.uri}: start must be callable: invalid argument"
        )
    wrong = _wrong_start(registration.start)
    if wrong:
        raise InvalidArgument(f"plugin {registration.uri}: {wrong}: invalid argument")
    _validate_service(registration)


def _wrong_start(start: Any) -> str:
    """What is wrong with a function that is to be a start, and the way out; "" when
    nothing is, or it is of a make that tells nothing."""
    try:
        inspect.signature(start).bind(None)
    except TypeError:
        return "start must take one argument, as in `async def start(ctx)`"
    except ValueError:
        pass  # of a make that does not say what it takes
    if inspect.isasyncgenfunction(start) or inspect.iscoroutinefunction(start):
        return (
            "start must be an async context manager: decorate it with"
            " @asynccontextmanager"
        )
    made_by = getattr(getattr(start, "__code__", None), "co_qualname", "")
    if made_by == "contextmanager.<locals>.helper":
        return "start is decorated with @contextmanager: use @asynccontextmanager"
    if made_by != "asynccontextmanager.<locals>.helper":
        return ""
    body = inspect.unwrap(start)
    if inspect.isgeneratorfunction(body):
        return "start must be `async def`"
    if inspect.iscoroutinefunction(body):
        return "start has no yield: yield what the plugin offers"
    return ""


def _validate_service(registration: Registration[Any, Any]) -> None:
    """What the interface declares is served later; a mistake in it is found here, where
    it is that plugin's alone. Those of our own kinds are known to be right
    (tests/core/test_own_kinds.py), and reading them all would be a sixth of each start."""
    if registration.provides.interface.__module__.startswith(OWN_KINDS):
        return
    try:
        arguments_of(registration.provides)
        # Who asks for the schema asks for that of all.
        service_schema(registration.provides).describe()
    except Exception as error:
        raise InvalidArgument(
            f"plugin {registration.uri}: its interface cannot be served: {error}:"
            " invalid argument"
        ) from error
