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


def decorated(name: str) -> Known:
    """The kind to stand over. Raises InvalidArgument for one that pluggd does not have,
    or that is the daemon's own."""
    found = known(name)
    kinds = [one for one in known_kinds() if one not in (DAEMON.name, RPC.name)]
    if found is None:
        words = [one.split(".")[1] for one in kinds]
        close = difflib.get_close_matches(name, words, 1)
        meant = f'; did you mean "{close[0]}"?' if close else ""
        raise InvalidArgument(
            f'kind "{name}": pluggd has none of that name{meant} It has'
            f" {', '.join(sorted(words))}: invalid argument"
        )
    if found.kind.name not in kinds:
        raise InvalidArgument(
            f"kind {found.kind.name} is the daemon's own and not decorated:"
            " invalid argument"
        )
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

    Raises InvalidArgument, also for what looks like a slip of a known kind.
    """
    if NEW.fullmatch(text):
        return text
    if not WORD.fullmatch(text):
        raise InvalidArgument(
            f'kind "{text}": must be a word, or lower-case names with dots that end in a'
            ' version, as in "acme.backups.v1": invalid argument'
        )
    words = [name.split(".")[1] for name in known_kinds()]
    if close := difflib.get_close_matches(text, words, 1, 0.8):
        raise InvalidArgument(
            f'kind "{text}": did you mean {close[0]}? A new kind of that name is'
            f' "example.{text}.v1": invalid argument'
        )
    return f"example.{text}.v1"
