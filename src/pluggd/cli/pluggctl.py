# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""`pluggctl`: the operator's client. The global options, and how a run ends.

Every error leaves through `main`, which knows the exit codes (docs/pluggctl.md)
and the hints. Start-up matters more here than anywhere: shells complete with it and
scripts call it in loops, so the groups are imported when they are named, and trio,
msgspec and rich not at all (rich only while drawing progress).
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import click

    from pluggd.errors import PluggdError

OK, FAILED, USAGE, UNREACHABLE = 0, 1, 2, 3
NOT_FOUND, ALREADY_EXISTS, TIMED_OUT = 4, 5, 6
INTERRUPTED, BROKEN_PIPE = 130, 141  # as of a process that the signal ended

CODES = {
    "not_found": NOT_FOUND,
    "already_exists": ALREADY_EXISTS,
    "deadline_exceeded": TIMED_OUT,
}


def main(argv: Sequence[str] | None = None) -> None:
    """Run and exit."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        code = run(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        code = INTERRUPTED
    except BrokenPipeError:
        code = _reader_gone()
    sys.exit(code)


def run(arguments: list[str]) -> int:
    """Run and return the exit code; messages have been written to stderr.

    Raises KeyboardInterrupt and BrokenPipeError.
    """
    if arguments == ["--version"]:
        from pluggd import __version__

        sys.stdout.write(f"pluggctl {__version__}\n")
        return OK

    import click

    from pluggd.cli.ctl.root import cli
    from pluggd.errors import PluggdError

    # Data of others goes to stdout; what is no UTF-8 in it must not stop a listing.
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
    instruction = os.environ.get("_PLUGGCTL_COMPLETE")
    if instruction:
        from pluggd.cli.ctl.completion import complete

        return complete(cli, instruction)
    try:
        with cli.make_context("pluggctl", arguments) as context:
            cli.invoke(context)
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return USAGE
    except click.ClickException as error:
        _show_usage(error)
        return error.exit_code
    except PluggdError as error:
        _show(error)
        return exit_code(error)
    except BrokenPipeError:
        raise
    except OSError as error:
        what = f"{error.filename}: " if error.filename else ""
        sys.stderr.write(f"pluggctl: {what}{error.strerror or error}\n")
        return FAILED
    return OK


def exit_code(error: PluggdError) -> int:
    """The exit code that tells a script which error it was."""
    from pluggd.client.lost import ConnectFailed, ConnectionLost

    if isinstance(error, ConnectFailed | ConnectionLost):
        return UNREACHABLE
    return CODES.get(error.code, FAILED)


def _show(error: PluggdError) -> None:
    sys.stderr.write(f"pluggctl: {error.code}: {error}\n")
    from pluggd.cli.ctl.hints import hint

    text = hint(error)
    if text:
        sys.stderr.write(f"  {text}\n")


def _show_usage(error: click.ClickException) -> None:
    sys.stderr.write(f"pluggctl: {error.format_message()}\n")
    context = getattr(error, "ctx", None)
    if context is not None:
        sys.stderr.write(f"  {context.get_usage()}\n")
        sys.stderr.write(f"  Try '{context.command_path} --help'.\n")


def _reader_gone() -> int:
    """What the library reference advises (signal, SIGPIPE): else the last flush of a
    stdout that nobody reads may complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return BROKEN_PIPE


if __name__ == "__main__":
    main()
