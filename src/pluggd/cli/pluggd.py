# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The command `pluggd`: the daemon, and what can be asked without one.

Exit codes are a promise (docs/operating.md). Everything heavy is imported by the
command that needs it, so that `pluggd version` costs nothing.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from pluggd import __version__
from pluggd.cli import wording
from pluggd.cli.author.commands import plugin_group

_config_option = click.option(
    "--config",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The configuration file; default: /etc/pluggd/config.toml or the user's own.",
)


@click.group(
    cls=wording.Group, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(__version__, message="pluggd %(version)s")
def main() -> None:
    """A daemon made of plugins. `pluggd run` starts it, `pluggctl` talks to it."""


main.add_command(plugin_group)


@main.command()
def version() -> None:
    """Print the version."""
    click.echo(f"pluggd {__version__}")


@main.command()
@_config_option
@click.option(
    "--root",
    type=click.Path(path_type=Path),
    help="Directory of what survives a reboot.",
)
@click.option(
    "--state", type=click.Path(path_type=Path), help="Directory of what need not."
)
@click.option(
    "--address", type=click.Path(path_type=Path), help="The unix socket to listen on."
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    help="What is worth a line.  [default: info]",
)
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    help="Lines of key=value, or one JSON object each.  [default: text]",
)
def run(
    config: Path | None,
    root: Path | None,
    state: Path | None,
    address: Path | None,
    log_level: str | None,
    log_format: str | None,
) -> None:
    """Run the daemon until SIGTERM or SIGINT."""
    from pluggd.cli.run import run_command

    sys.exit(run_command(config, root, state, address, log_level, log_format))


@main.group(name="config")
def config_group() -> None:
    """Look at configurations; nothing is started."""


@config_group.command()
def default() -> None:
    """Print the documented default configuration."""
    from pluggd.core.discovery import discover
    from pluggd.core.toml_text import default_text

    click.echo(default_text(discover()), nl=False)


@config_group.command()
@_config_option
def dump(config: Path | None) -> None:
    """Print every value that counts, and where it comes from."""
    from pluggd.cli.configured import configured
    from pluggd.core.toml_text import dump_text

    configuration, _ = configured(config)
    click.echo(dump_text(configuration), nl=False)


@config_group.command()
@_config_option
def check(config: Path | None) -> None:
    """Find mistakes, and plugins that would not start; exit code 3 for mistakes."""
    from pluggd.cli.configured import configured
    from pluggd.cli.plan import plan_rows

    configuration, found = configured(config)
    broken = [
        f"plugin {row['uri']} would not start, {row['status']}: {row['reason']}"
        for row in plan_rows(configuration, found)
        if row["status"] in ("failed", "blocked")
    ]
    for warning in (*configuration.warnings, *broken):
        click.echo(f"warning: {warning}", err=True)
    files = (
        ", ".join(str(file) for file in configuration.sources.files)
        or "no file, all defaults"
    )
    click.echo(f"ok: {files} ({len(found)} plugins)")


@main.command()
@_config_option
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def plugins(config: Path | None, as_json: bool) -> None:
    """List what would be started, in order, and what would not, and why."""
    from pluggd.cli.configured import configured
    from pluggd.cli.plan import plan_rows, plan_text

    configuration, found = configured(config)
    rows = plan_rows(configuration, found)
    if as_json:
        import json

        click.echo(json.dumps(rows, indent=2))
    else:
        click.echo(plan_text(rows), nl=False)


_root_option = click.option(
    "--root", type=click.Path(path_type=Path), help="Instead of the configured one."
)


@main.group()
def metadata() -> None:
    """Work on the metadata stores of a root; no daemon may be using it."""


@metadata.command()
@_config_option
@_root_option
@click.option("--from", "origin", required=True, help="The provider's id, as lmdb.")
@click.option("--to", required=True, help="The other one's, as sqlite.")
def copy(config: Path | None, root: Path | None, origin: str, to: str) -> None:
    """Copy all records from one metadata provider to another, and compare them."""
    from pluggd.cli.metadata import copy_command

    copy_command(config, root, origin, to)


@metadata.command(name="check")
@_config_option
@_root_option
@click.option("--store", required=True, help="The provider's id, as sqlite.")
def check_store(config: Path | None, root: Path | None, store: str) -> None:
    """Read every page of a metadata store; exit code 1 when it is damaged."""
    from pluggd.cli.metadata import check_command

    check_command(config, root, store)
