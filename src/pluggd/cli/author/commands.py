# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The commands of `pluggd plugin`. What they do is imported when they run."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from pluggd.cli import wording
from pluggd.errors import PluggdError


@click.group(name="plugin", cls=wording.Group)
def plugin_group() -> None:
    """Write a plugin, and find out what is wrong with it; no daemon is needed."""


@plugin_group.command()
@click.argument("name")
@click.option(
    "--kind",
    help="What it provides: a kind that pluggd has (`images`), or a new one"
    " (`acme.backups.v1`). Default: a new one with the name of the plugin.",
)
@click.option(
    "--decorate",
    metavar="KIND",
    help="Stand over the provider of a kind that pluggd has, to forbid, count or add.",
)
@click.option(
    "--single-file", "form", flag_value="single-file", default=True, help="The default."
)
@click.option("--folder", "form", flag_value="folder", help="One module per concern.")
@click.option("--package", "form", flag_value="package", help="To be published.")
@click.option(
    "--in",
    "directory",
    type=click.Path(file_okay=False, exists=True, path_type=Path),
    default=Path(),
    help="Where to put it; default: here.",
)
def new(
    name: str, kind: str | None, decorate: str | None, form: str, directory: Path
) -> None:
    """Write a plugin that works, with its options, README and test."""
    from pluggd.cli.author.new import new_plugin

    if kind and decorate:
        raise click.UsageError(
            "--kind and --decorate exclude each other: what decorates a kind provides it"
        )
    wanted = decorate or kind or f"example.{name.replace('-', '_')}.v1"
    try:
        made = new_plugin(name, wanted, form, directory, over=decorate is not None)
    except PluggdError as error:
        raise click.ClickException(error.message) from None
    for file in made.files:
        click.echo(f"wrote {file}")
    click.echo("\nNext:")
    width = max(len(command) for command, _ in made.commands)
    for command, purpose in made.commands:
        click.echo(f"  {command:{width}}  # {purpose}")


@plugin_group.command()
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--beside",
    multiple=True,
    type=click.Path(file_okay=False, exists=True, path_type=Path),
    help="A directory of plugins that will be there, too.",
)
@click.option("--conformance", is_flag=True, help="Run the rules of its kinds.")
@click.option(
    "--lacks",
    multiple=True,
    metavar="NAME=REASON",
    help="With --conformance: what it cannot do and need not.",
)
@click.option(
    "--config",
    type=click.Path(dir_okay=False, exists=True, path_type=Path),
    help="With --conformance: a config file with its options; default: its defaults.",
)
def check(
    path: Path,
    beside: tuple[Path, ...],
    conformance: bool,
    lacks: tuple[str, ...],
    config: Path | None,
) -> None:
    """Find what is wrong with the plugin at PATH, without starting it.

    PATH is a file, a folder, a directory of plugins, or what `pluggd plugin new` made.
    Exit code 1 when something is wrong.
    """
    from pluggd.cli.author.check import check_plugins

    if lacks and not conformance:
        raise click.UsageError("--lacks is for the rules that --conformance runs")
    if config and not conformance:
        raise click.UsageError("--config is for the rules that --conformance runs")
    try:
        good = check_plugins(path, beside, click.echo)
        if good and conformance:
            from pluggd.cli.author.conformance import run_conformance

            good = run_conformance(path, lacks, config, click.echo)
    except PluggdError as error:
        raise click.ClickException(error.message) from None
    sys.exit(0 if good else 1)
