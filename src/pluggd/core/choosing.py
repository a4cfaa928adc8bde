# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Which plugins the configuration wants, where several could do one thing.

Two sections say it: [select] names the provider of a kind that counts, [decorate] the
plugins that are put over it. Pure: registrations in, reasons out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from pluggd.core.settings import short_kind
from pluggd.plugin import Registration
from pluggd.services.schema import is_served


class Choice(Protocol):
    """What [select] and [decorate] say; a `Configuration` is one."""

    def selected(self, kind: str) -> str:
        """The id that counts of a kind, or ""."""
        ...

    def decorators(self, kind: str) -> Sequence[str]:
        """The ids of what is put over it, the innermost first."""
        ...


class NoChoice:
    """The `Choice` of an empty configuration."""

    def selected(self, kind: str) -> str:
        return ""

    def decorators(self, kind: str) -> Sequence[str]:
        return ()


def layer(registration: Registration[Any, Any], choice: Choice) -> int:
    """How many plugins of its kind it stands over, at most: 0 for one that decorates
    nothing, otherwise its place in [decorate], from 1."""
    ids = choice.decorators(registration.provides.name)
    return ids.index(registration.id) + 1 if registration.id in ids else 0


def not_chosen(
    registrations: Iterable[Registration[Any, Any]], choice: Choice
) -> dict[str, str]:
    """Why some of these do not start, by URI, each with what would start it.

    An alternative starts when it is selected, and then the others of its kind do not.
    A decorator starts when it is named under [decorate].
    """
    known = list(registrations)
    alternatives = {(one.provides.name, one.id) for one in known if one.alternative}
    reasons: dict[str, str] = {}
    for one in known:
        kind, selected = one.provides.name, choice.selected(one.provides.name)
        short = short_kind(kind)
        if one.decorates:
            if one.id not in choice.decorators(kind):
                reasons[one.uri] = (
                    f'decorates nothing: [decorate] {short} = ["{one.id}"] puts it over'
                    f" the provider of {kind}"
                )
        elif one.alternative:
            if one.id != selected:
                reasons[one.uri] = (
                    f'not selected: [select] {short} = "{one.id}" starts it in place of'
                    " the other"
                )
        elif (kind, selected) in alternatives:
            reasons[one.uri] = f'[select] {short} = "{selected}" takes its place'
    return reasons


def undecided(
    registrations: Iterable[Registration[Any, Any]],
    choice: Choice,
    disabled: Iterable[str],
) -> list[str]:
    """Of which kinds that clients call there are several providers, and nothing says
    which one counts: a sentence for each, with what would say it."""
    known = list(registrations)
    off = {*disabled, *not_chosen(known, choice)}
    providers: dict[str, list[Registration[Any, Any]]] = {}
    for one in known:
        if not one.decorates and one.uri not in off:
            providers.setdefault(one.provides.name, []).append(one)
    found: list[str] = []
    for kind, ones in sorted(providers.items()):
        ids = sorted(one.id for one in ones)
        if len(ids) < 2 or choice.selected(kind) in ids:
            continue
        if is_served(ones[0].provides):
            found.append(
                f"kind {kind} has more than one provider, {', '.join(ids)}, and nobody"
                " gets at it until one is chosen, as in [select]"
                f' {short_kind(kind)} = "{ids[0]}", or the others are disabled'
            )
    return found
