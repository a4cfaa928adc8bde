# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a registry wants to be told: the header `WWW-Authenticate`, as values.

Pure. Registries send it in several forms, all of RFC 9110, section 11.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_SCHEME = re.compile(rf"\s*,?\s*({_TOKEN})(?:\s+|\s*$)(?!\s*=)")
_PARAMETER = re.compile(rf'\s*,?\s*({_TOKEN})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|({_TOKEN}))')
_KNOWN = ("bearer", "basic")


@dataclass(frozen=True, slots=True)
class Challenge:
    """scheme and names of parameters in lower case."""

    scheme: str
    parameters: dict[str, str] = field(default_factory=dict[str, str])


def read_challenges(headers: Sequence[str]) -> list[Challenge]:
    """The challenges that can be answered, the best first: bearer, then basic."""
    found: list[Challenge] = []
    for header in headers:
        position = 0
        while scheme := _SCHEME.match(header, position):
            position = scheme.end()
            parameters: dict[str, str] = {}
            while one := _PARAMETER.match(header, position):
                position = one.end()
                quoted, bare = one[2], one[3]
                value = bare if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
                parameters[one[1].lower()] = value
            found.append(Challenge(scheme[1].lower(), parameters))
    usable = [one for one in found if one.scheme in _KNOWN]
    return sorted(usable, key=lambda one: _KNOWN.index(one.scheme))
