# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The config.toml of the repository is what the records say."""

from __future__ import annotations

import itertools
from pathlib import Path

from pluggd.core.discovery import discover
from pluggd.core.toml_text import default_text

FILE = Path(__file__).parents[2] / "config.toml"


def test_config_toml_is_the_default_configuration() -> None:
    found = discover(installed=False)
    assert FILE.read_text() == default_text(found), (
        "run: pluggd config default > config.toml"
    )


def test_every_option_of_a_bundled_plugin_is_documented() -> None:
    lines = FILE.read_text().splitlines()
    bare = [
        line
        for before, line in itertools.pairwise(lines)
        if " = " in line and not line.startswith("#") and not before.startswith("#")
    ]
    assert bare == []
