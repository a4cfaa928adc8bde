# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Every key of a TOML text has its line."""

from __future__ import annotations

import tomllib
from typing import Any, cast

import pytest

from pluggd.core.toml_lines import key_lines

TEXT = '''# a comment with a = sign
top = 1
"quoted key" = """
fake = 2
[fake]
""" # behind
[table]  # comment
a.b = 'x = "y'
inline = { c = [1, 2], d = "}" }
list = [
  # [comment]
  { e = 1 },
  { e = 2 },
]
[[array]]
name = "first"
[array.sub]
x = 1
[[array]]
name = "second \\" = still"
[plugins."pluggd.images.v1.store"]
key = 0o660
raw = \'\'\'it\\\'\'\'
last = 1979-05-27T07:32:00Z'''


@pytest.mark.parametrize(
    ("key", "line"),
    [
        (("top",), 2),
        (("quoted key",), 3),
        (("table",), 7),
        (("table", "a"), 8),
        (("table", "a", "b"), 8),
        (("table", "inline", "c"), 9),
        (("table", "inline", "d"), 9),
        (("table", "list"), 10),
        (("table", "list", "0", "e"), 12),
        (("table", "list", "1", "e"), 13),
        (("array",), 15),
        (("array", "0", "name"), 16),
        (("array", "0", "sub", "x"), 18),
        (("array", "1"), 19),
        (("array", "1", "name"), 20),
        (("plugins", "pluggd.images.v1.store"), 21),
        (("plugins", "pluggd.images.v1.store", "key"), 22),
        (("plugins", "pluggd.images.v1.store", "last"), 24),
    ],
)
def test_a_key_has_its_line(key: tuple[str, ...], line: int) -> None:
    assert key_lines(TEXT)[key] == line


def test_every_key_that_tomllib_reads_has_a_line() -> None:
    lines = key_lines(TEXT)

    def walk(value: Any, key: tuple[str, ...]) -> None:
        if key:
            assert key in lines
        if isinstance(value, dict):
            for name, inner in cast("dict[str, Any]", value).items():
                walk(inner, (*key, name))

    walk(tomllib.loads(TEXT), ())


def test_nothing_is_found_in_nothing() -> None:
    assert key_lines("") == {}
    assert key_lines("# only a comment") == {}
