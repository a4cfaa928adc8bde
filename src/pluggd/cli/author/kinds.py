# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""From what an author types to a kind: one that pluggd knows, or a new one."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
import re
from dataclasses import dataclass
from typing import Any, TypeGuard

from pluggd import services
from pluggd.core.discovery import bundled_dir, bundled_sources, examine
from pluggd.errors import FailedPrecondition, InvalidArgument
from pluggd.services.daemon import DAEMON
from pluggd.services.hello import RPC
from pluggd.services.kind import Kind

NEW = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+\.v[0-9]+")
WORD = re.compile(r"[a-z][a-z0-9_]*")

OF_THE_DAEMON = (DAEMON.name, RPC.name)


@dataclass(frozen=True)
class Known:
    """A kind that pluggd has: `from {module} import {constant}`."""

    kind: Kind[Any]
    module: str
    constant: str


def known_kinds() -> dict[str, Known]:
    """All kinds of `pluggd.services`, by name."""
    found: dict[str, Known] = {}
    for info in pkgutil.iter_modules(services.__path__):
        module = importlib.import_module(f"{services.__name__}.{info.name}")
        members: dict[str, Any] = vars(module)
        for constant, value in members.items():
            if _is_kind(value) and value.interface.__module__ == module.__name__:
                found[value.name] = Known(value, module.__name__, constant)
    return found


def _is_kind(value: object) -> TypeGuard[Kind[Any]]:
    return isinstance(value, Kind)


def known(name: str) -> Known | None:
    """By its whole name, or by the word in it: `images` is `pluggd.images.v1`."""
    kinds = known_kinds()
    return kinds.get(name) or kinds.get(f"pluggd.{name}.v1")


def provided(name: str) -> Known | None:
    """The kind to provide, None for a new one. Raises InvalidArgument for one that is the
    daemon's own."""
    found = known(name)
    if found is not None:
        _not_of_the_daemon(found, "provided by it alone")
    return found


def _not_of_the_daemon(found: Known, how: str) -> None:
    if found.kind.name in OF_THE_DAEMON:
        raise InvalidArgument(
            f"kind {found.kind.name} is the daemon's own and {how}: invalid argument"
        )


def decorated(name: str) -> Known:
    """The kind to stand over. Raises InvalidArgument for one that pluggd does not have,
    or that is the daemon's own."""
    found = known(name)
    if found is None:
        kinds = [one for one in known_kinds() if one not in OF_THE_DAEMON]
        words = [one.split(".")[1] for one in kinds]
        close = difflib.get_close_matches(name, words, 1)
        meant = f'; did you mean "{close[0]}"?' if close else ""
        raise InvalidArgument(
            f'kind "{name}": pluggd has none of that name{meant} (it has'
            f" {', '.join(sorted(words))}): invalid argument"
        )
    _not_of_the_daemon(found, "not decorated")
    return found


def providers(kind: str) -> list[str]:
    """The ids of what is bundled for a kind and starts unless something else is
    selected. Raises FailedPrecondition when there is none."""
    registrations = [
        one.registration
        for source in bundled_sources(bundled_dir())
        for one in examine(source)
    ]
    ids = sorted(
        one.id
        for one in registrations
        if one is not None
        and one.provides.name == kind
        and not one.alternative
        and not one.decorates
    )
    if not ids:
        raise FailedPrecondition(
            f"kind {kind}: nothing that comes with pluggd provides it, so there is nothing"
            " to stand over: write a provider (--kind): failed precondition"
        )
    return ids


def new_name(text: str) -> str:
    """The name of a kind that is yet to be made. A bare word is put below `example`.

    Raises InvalidArgument, also for what looks like a slip of a known kind, and for what
    would be called by the name of one.
    """
    words = [name.split(".")[1] for name in known_kinds()]
    if WORD.fullmatch(text):
        if close := difflib.get_close_matches(text, words, 1, 0.8):
            raise InvalidArgument(
                f'kind "{text}": did you mean {close[0]}? For a new kind of that name say'
                f" --kind example.{text}.v1: invalid argument"
            )
        return f"example.{text}.v1"
    if not NEW.fullmatch(text):
        raise InvalidArgument(
            f'kind "{text}": must be a word, or lower-case names with dots that end in a'
            ' version, as in "acme.backups.v1": invalid argument'
        )
    service = text.partition(".")[2]
    for name in known_kinds():
        if name.partition(".")[2] == service:
            raise InvalidArgument(
                f'kind "{text}": clients would call it {service}, as they do {name}:'
                f" take another name, or --kind {name.split('.')[1]} for a provider of"
                " that one: invalid argument"
            )
    return text
