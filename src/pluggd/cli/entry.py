# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The command `pluggd`, as it is installed: `pluggd run` without click.

Click costs a start as much as the whole content store. So the plain form of the one
command that service managers call is understood here; everything else, be it help, a
mistake or another command, is left to click (`pluggd.cli.pluggd`), which also is where
the options are documented.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence

OPTIONS = ("config", "root", "state", "address", "log-level", "log-format")
"""Of `pluggd run`; each takes a value."""


def main() -> None:
    # What is imported stays, so looking for garbage in it costs a twentieth of the start.
    # `run_command` turns it on again.
    gc.disable()
    given = plain_run(sys.argv[1:])
    if given is None:
        gc.enable()
        from pluggd.cli.pluggd import main as with_click

        with_click(prog_name="pluggd")
    else:
        from pluggd.cli.run import run_command

        sys.exit(run_command(**given))


def plain_run(words: Sequence[str]) -> dict[str, str] | None:
    """The options of `run`, as `run_command` takes them; None when click should look
    at the words."""
    if words[:1] != ["run"]:
        return None
    given: dict[str, str] = {}
    rest = iter(words[1:])
    for word in rest:
        name, equals, value = word.removeprefix("--").partition("=")
        if not equals:
            value = next(rest, "")
        known = word.startswith("--") and name in OPTIONS and name not in given
        if not known or not value or value.startswith("-"):
            return None
        given[name] = value
    if os.path.isdir(given.get("config", "")) or not _are_choices(given):
        return None
    return {name.replace("-", "_"): value for name, value in given.items()}


def _are_choices(given: dict[str, str]) -> bool:
    from pluggd.core.config import FORMATS, LEVELS

    level, format_ = given.get("log-level"), given.get("log-format")
    return (level is None or level in LEVELS) and (
        format_ is None or format_ in FORMATS
    )
