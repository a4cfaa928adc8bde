# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""docs/pluggctl.md says what is true: exit codes, options, commands."""

from __future__ import annotations

import re
from pathlib import Path

import click

from pluggd.cli import pluggctl
from pluggd.cli.ctl.root import cli

TEXT = (Path(__file__).parents[2] / "docs" / "pluggctl.md").read_text()


def test_every_exit_code_is_documented() -> None:
    documented = {int(code) for code in re.findall(r"^\| (\d+) \|", TEXT, re.MULTILINE)}
    used = {
        value
        for name, value in vars(pluggctl).items()
        if name.isupper() and isinstance(value, int) and name != "TYPE_CHECKING"
    }
    assert documented == used


def test_every_command_is_documented() -> None:
    context = click.Context(cli)
    for name in cli.list_commands(context):
        assert f"`{name}" in TEXT, name
        command = cli.get_command(context, name)
        if isinstance(command, click.Group):
            for member in command.list_commands(click.Context(command)):
                row = re.search(rf"^\| `{name}` \|(.*)$", TEXT, re.MULTILINE)
                assert row is not None, name
                assert f"`{member}" in row[1], f"{name} {member}"


def test_every_group_loads_under_the_help_of_the_root() -> None:
    context = click.Context(cli)
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        assert command is not None
        assert command.get_help(click.Context(command, info_name=name))
