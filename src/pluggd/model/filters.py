# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Filters: which records a listing or a subscription is about.

`parse_filters(['labels."a.b/c"==x', "name~=/^docker/"])` is what several clients
mean by a filter: the strings are joined by or, the selectors of each by and, and no
strings, or an empty one, match everything. The grammar is in `filter_syntax`.

An absent field is present to nobody, equal to nothing, and the empty string to `!=`
and `~=`: so `nosuch!=x` holds, as in containerd. Unlike there, a regular
expression that cannot be read is an error; silently matching nothing helps nobody.

Nothing here knows records: who filters brings an adaptor, a function from a field
path to the value at it, None where there is none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from pluggd.model.regex import compile_search

if TYPE_CHECKING:
    from pluggd.model.filter_syntax import Selector

Adaptor = Callable[[tuple[str, ...]], str | None]
_Test = Callable[[str | None], bool]


class Filter:
    """What `parse_filters` made. `matches_all`: every record matches, whatever it is."""

    __slots__ = ("_alternatives", "matches_all")

    def __init__(
        self, alternatives: list[list[tuple[tuple[str, ...], _Test]]], matches_all: bool
    ) -> None:
        self._alternatives = alternatives
        self.matches_all = matches_all

    def match(self, adaptor: Adaptor) -> bool:
        """Whether the record behind this adaptor matches."""
        return self.matches_all or any(
            all(test(adaptor(path)) for path, test in selectors)
            for selectors in self._alternatives
        )


def parse_filters(filters: Iterable[str]) -> Filter:
    """The filter that matches what any of these strings matches.

    Raises InvalidArgument with the place and the reason, for the first bad string.
    """
    alternatives: list[list[tuple[tuple[str, ...], _Test]]] = []
    anything = False
    for text in filters:
        if text:
            from pluggd.model.filter_syntax import parse_filter  # most have none

            selectors = parse_filter(text)
            alternatives.append([(one.path, _test(text, one)) for one in selectors])
        else:
            anything = True
    return Filter(alternatives, anything or not alternatives)


def label_value(labels: Mapping[str, str], path: Iterable[str]) -> str | None:
    """The label that the rest of a field path names: `labels.a."b/c"` is `a.b/c`."""
    return labels.get(".".join(path)) or None


def _test(text: str, selector: Selector) -> _Test:
    expected = selector.value
    match selector.operator:
        case "==":
            return lambda value: value is not None and value == expected
        case "!=":
            return lambda value: (value or "") != expected
        case "~=":
            try:
                found = compile_search(expected)
            except ValueError as error:
                from pluggd.model.filter_syntax import parse_error

                raise parse_error(
                    text, selector.position, f"invalid regular expression: {error}"
                ) from None
            return lambda value: found(value or "")
        case _:
            return lambda value: value is not None
