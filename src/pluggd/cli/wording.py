# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Click classes whose lists of commands show whole sentences.

Click cuts the line of a command where the terminal ends; ours goes on in the next one.
"""

from __future__ import annotations

import click

_NO_LIMIT = 10_000


class Command(click.Command):
    """A command that says in one sentence what it does, whatever the width."""

    def get_short_help_str(self, limit: int = 45) -> str:
        return super().get_short_help_str(_NO_LIMIT)


class Group(click.Group):
    """The same for a group, and for the commands and groups made in it."""

    command_class: type[click.Command] | None = Command
    group_class: type[click.Group] | type[type] | None = type

    def get_short_help_str(self, limit: int = 45) -> str:
        return super().get_short_help_str(_NO_LIMIT)
