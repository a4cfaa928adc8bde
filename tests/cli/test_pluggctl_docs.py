# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""docs/pluggctl.md says what is true: exit codes, options, commands."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from pluggd.cli import pluggctl
from pluggd.cli.ctl.root import Root, cli
from pluggd.cli.pluggd import main

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


def commands(name: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    """Every command below one, with its whole name."""
    yield name, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for member in command.list_commands(context):
            found = command.get_command(context, member)
            assert found is not None
            yield from commands(f"{name} {member}", found)


ALL = [*commands("pluggctl", cli), *commands("pluggd", main)]


@pytest.mark.parametrize(("name", "command"), ALL, ids=[name for name, _ in ALL])
def test_help_of_a_command_is_whole_sentences(
    name: str, command: click.Command
) -> None:
    context = click.Context(command, info_name=name, terminal_width=60)
    assert "..." not in command.get_short_help_str(20)
    assert "..." not in command.get_help(context).partition("\nCommands:\n")[2]


@pytest.mark.parametrize(
    ("name", "command"),
    [one for one in ALL if one[0].startswith("pluggctl ")],
    ids=[name for name, _ in ALL if name.startswith("pluggctl ")],
)
def test_json_and_the_namespace_may_stand_after_a_command(
    name: str, command: click.Command
) -> None:
    options = {text for one in command.params for text in one.opts}
    assert {"--json", "-n", "--namespace"} <= options, name


def test_the_root_names_the_members_of_each_group() -> None:
    for name, (_, help_) in Root.lazy.items():
        command = cli.get_command(click.Context(cli), name)
        if isinstance(command, click.Group):
            named = re.findall(r"[a-z]+", help_.partition(":")[2])
            assert set(named) == set(command.list_commands(click.Context(command)))


def test_every_group_loads_under_the_help_of_the_root() -> None:
    context = click.Context(cli)
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        assert command is not None
        assert command.get_help(click.Context(command, info_name=name))
