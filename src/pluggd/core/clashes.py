# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Which plugins cannot be there together, whatever each says by itself."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pluggd.core.advice import makes_its_own
from pluggd.core.discovery import Found
from pluggd.core.failure import Failure
from pluggd.core.validation import OWN_KINDS
from pluggd.services.kind import Kind
from pluggd.services.schema import is_served


def reject_clashes(found: Iterable[Found], disabled: Iterable[str]) -> list[Found]:
    """Fail all plugins that share a URI, all that come from folders of one name, and all
    of different kinds that clients would call by one name.

    None of them is preferred, since the choice would depend on the order of directories;
    but the kinds that pluggd itself declares are taken. What is disabled clashes with
    nobody.
    """
    everything = list(found)
    off = set(disabled)
    live = [one for one in everything if one.registration and one.uri not in off]
    rules = (_same_uri, _same_folder, _same_service)
    reasons = {
        id(one): reason
        for one in live
        if (reason := next((text for rule in rules if (text := rule(one, live))), ""))
    }
    return [
        Found(
            one.name,
            one.path,
            one.origin,
            one.registration,
            Failure(reasons[id(one)], "already_exists"),
        )
        if id(one) in reasons
        else one
        for one in everything
    ]


def _same_uri(one: Found, live: Sequence[Found]) -> str:
    same = [other for other in live if other.uri == one.uri]
    if len(same) < 2:
        return ""
    paths = " and ".join(sorted(f"{other.path} ({other.origin})" for other in same))
    return (
        f"plugin {one.uri} exists more than once, in {paths}: remove one or give"
        " it another id: already exists"
    )


def _same_folder(one: Found, live: Sequence[Found]) -> str:
    same = {
        other.path
        for other in live
        if other.name == one.name and Path(other.path).is_absolute()
    }
    if len(same) < 2 or one.path not in same:
        return ""
    paths = " and ".join(sorted(same))
    return (
        f"plugin folder {one.name} exists more than once, as {paths}: rename"
        " one: already exists"
    )


def _same_service(one: Found, live: Sequence[Found]) -> str:
    """Calls name a kind without its first part, so `a.images.v1` and `b.images.v1` cannot
    both be served."""
    assert one.registration is not None
    kind = one.registration.provides
    if not is_served(kind) or _constant(kind):
        return ""
    for other in live:
        assert other.registration is not None
        theirs = other.registration.provides
        constant = _constant(theirs) if theirs.name == kind.name else ""
        if constant:
            return makes_its_own(kind.name, constant, theirs.interface.__module__)
        if (
            theirs.name != kind.name
            and theirs.service == kind.service
            and is_served(theirs)
        ):
            return (
                f"kind {kind.name} of {one.path} would be called as {kind.service}, and so"
                f" would {theirs.name} of {other.path}: what follows the first dot has to"
                " differ: already exists"
            )
    return ""


def _constant(kind: Kind[Any]) -> str:
    """What the module of pluggd that declares a kind calls it; "" for one of others."""
    module = kind.interface.__module__
    if not module.startswith(OWN_KINDS):
        return ""
    members = vars(sys.modules[module]).items()
    return next((name for name, value in members if value == kind), "")
