# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Regular expressions that a client may send: RE2, searched in linear time.

Python's `re` takes exponential time on some patterns of twenty characters, and a
filter of one client would stop the daemon for all. RE2 has no such patterns, and
its dialect is the one that containerd's filters are written in. The only module
that imports re2, and only for the first pattern: a daemon starts without.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

MAX_PATTERN = 1024
"""Bytes that a pattern may have."""

MAX_MEMORY = 1 << 18
"""Bytes that a compiled pattern may take. With RE2's own default of 8 MiB, 1 kB of
pattern took 0.2 s to compile; with these two bounds, 0.03 s, and 20 us for each byte
that the worst one looks at (0.01 us for usual ones)."""


@functools.cache
def _engine() -> tuple[Any, Any]:
    """The module and its options."""
    import re2  # type: ignore[import-untyped]  # pyright: ignore[reportMissingTypeStubs]

    engine: Any = re2
    options = engine.Options()
    options.log_errors = False
    options.max_mem = MAX_MEMORY
    return engine, options


def compile_search(pattern: str) -> Callable[[str], bool]:
    """A function that says whether `pattern` occurs anywhere in a string.

    Raises ValueError with the reason when the pattern is none.
    """
    pattern = _encodable(pattern)
    if len(pattern.encode()) > MAX_PATTERN:
        raise ValueError(f"longer than {MAX_PATTERN} bytes")
    engine, options = _engine()
    error_class: type[Exception] = engine.error
    try:
        search = engine.compile(pattern, options).search
    except error_class as error:
        reason: bytes = error.args[0]
        raise ValueError(reason.decode("utf-8", "replace")) from None

    def matches(text: str) -> bool:
        try:
            return search(text) is not None
        except UnicodeEncodeError:
            return search(_encodable(text)) is not None

    return matches


def _encodable(text: str) -> str:
    """The text with undecodable bytes shown as U+FFFD, which is how Go sees them."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
