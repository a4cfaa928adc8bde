# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""docs/operating.md says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pluggd.core import exits
from pluggd.core.settings import Settings
from pluggd.core.status import TRANSITIONS, Status

TEXT = (Path(__file__).parents[2] / "docs" / "operating.md").read_text()


def test_every_exit_code_is_documented() -> None:
    codes = {value for name, value in vars(exits).items() if name.startswith("EXIT_")}
    documented = {int(code) for code in re.findall(r"^\| (\d) \|", TEXT, re.MULTILINE)}
    assert documented == codes | {2}


@pytest.mark.parametrize("status", Status)
def test_every_status_is_documented(status: Status) -> None:
    first_column = [line.split("|")[1] for line in TEXT.splitlines() if "|" in line]
    assert any(status.value in cell.replace(",", " ").split() for cell in first_column)


def test_the_moves_are_those_of_the_table() -> None:
    sentence = " ".join(
        TEXT.split("nothing else happens:")[1].split(". Those")[0].split()
    )
    documented = {
        before.strip(): set(after.strip(" .").split(", "))
        for before, after in (move.split("→") for move in sentence.split(";"))
    }
    assert documented == {
        before.value: {after.value for after in moves}
        for before, moves in TRANSITIONS.items()
        if moves
    }


@pytest.mark.parametrize("name", Settings.__struct_fields__)
def test_every_key_of_the_top_level_is_named(name: str) -> None:
    names = {"plugins": '[plugins."URI"]', "rpc": "[rpc]", "log": "[log]"}
    assert names.get(name, name) in TEXT
