# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Shell completion: `pluggctl completion SHELL` prints what the shell loads.

click does the work; two things are ours. bash breaks words at colons, which names
of images are full of, so its script hands over the line and gets back what follows
the last colon. And completions that ask the daemon need the global options of an
invocation that is only half typed.
"""

from __future__ import annotations

import os
from typing import ClassVar

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ShellComplete,
    ZshComplete,
    split_arg_string,
)

from pluggd.cli.ctl.app import App, Leaf
from pluggd.cli.ctl.output import out

PROGRAM = "pluggctl"
VARIABLE = "_PLUGGCTL_COMPLETE"


class Bash(BashComplete):
    """bash 4.4 and newer; needs no bash-completion package."""

    source_template: ClassVar[str] = """\
%(complete_func)s() {
    local type value
    COMPREPLY=()
    while IFS=, read -r type value; do
        case $type in
            dir) compopt -o dirnames 2>/dev/null ;;
            file) compopt -o default 2>/dev/null ;;
            plain) COMPREPLY+=("$value") ;;
        esac
    done < <(COMP_LINE="${COMP_LINE:0:COMP_POINT}" COMP_BREAKS="$COMP_WORDBREAKS" \\
        %(complete_var)s=bash_complete "$1")
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""
    _typed = ""

    def source(self) -> str:
        return self.source_template % self.source_vars()

    def get_completion_args(self) -> tuple[list[str], str]:
        line = os.environ["COMP_LINE"]
        words = split_arg_string(line)
        incomplete = words.pop() if words and not line[-1:].isspace() else ""
        breaks = os.environ.get("COMP_BREAKS", "")
        last = max(
            (incomplete.rfind(char) for char in ":=" if char in breaks), default=-1
        )
        self._typed = incomplete[: last + 1]
        return words[1:], incomplete

    def format_completion(self, item: CompletionItem[str]) -> str:
        value = str(item.value)
        return f"{item.type},{value.removeprefix(self._typed)}"


SHELLS: dict[str, type[ShellComplete]] = {
    "bash": Bash,
    "zsh": ZshComplete,
    "fish": FishComplete,
}


def complete(cli: click.Command, instruction: str) -> int:
    """Answer a shell (`bash_complete`); 1 for an instruction that is none."""
    shell, _, action = instruction.partition("_")
    if shell not in SHELLS or action != "complete":
        return 1
    out(SHELLS[shell](cli, {}, PROGRAM, VARIABLE).complete())
    return 0


def app_of(context: click.Context) -> App:
    """The App of a line that is being typed, from the options that stand there."""
    params = context.find_root().params
    return App(params.get("address") or "", params.get("namespace") or "default")


def complete_methods(
    context: click.Context, _: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    """The methods that the daemon serves."""
    from pluggd.errors import PluggdError

    try:
        with app_of(context).client as client:
            answer = client.call("introspection.v1.describe", {}, timeout=1.0)
    except PluggdError:
        return []  # there is nobody to tell while a line is typed
    names = [
        str(method.get("name", ""))
        for service in answer.get("services", [])
        for method in service.get("methods", [])
    ]
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


@click.command(cls=Leaf)
@click.argument("shell", type=click.Choice(list(SHELLS)))
def completion(shell: str) -> None:
    """Print the completion script of SHELL.

    \b
    bash: source <(pluggctl completion bash)
    zsh:  source <(pluggctl completion zsh)
    fish: pluggctl completion fish | source
    """
    root = click.get_current_context().find_root().command
    out(SHELLS[shell](root, {}, PROGRAM, VARIABLE).source().rstrip())
