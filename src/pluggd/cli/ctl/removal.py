# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Removing several things: all are tried, each failure is told, none is hidden.

ctr warns about a missing name and succeeds, in some groups and not in others;
here it is an error everywhere, unless --missing-ok says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from pluggd.cli.ctl.app import App
from pluggd.cli.ctl.output import clean, json_document, note, out
from pluggd.errors import NotFound, PluggdError, Unavailable

MISSING_OK = click.option(
    "--missing-ok", is_flag=True, help="What does not exist is no error."
)


def remove_each(
    app: App,
    names: Sequence[str],
    method: str,
    key: str,
    *,
    missing_ok: bool,
    sync: bool = False,
    more: Mapping[str, Any] = {},
) -> None:
    """Remove each by `method {key: name}`, as `remove_all` does.

    sync: one collection, with the last of them, however many there are. more: further
    arguments of the method.
    """

    def remove(name: str, last: bool) -> None:
        asked = {key: name, **more}
        app.call(method, {**asked, "sync": True} if last else asked)

    remove_all(app, names, remove, missing_ok=missing_ok, sync=sync)


def remove_all(
    app: App,
    names: Sequence[str],
    remove: Callable[[str, bool], None],
    *,
    missing_ok: bool,
    sync: bool = False,
) -> None:
    """Remove each and say so; raises the last error, after telling the others.

    remove: is given a name, and whether a collection is to follow it; raises NotFound
    for what is not there.
    """
    removed: list[str] = []
    failures: list[PluggdError] = []
    collected = False
    for number, name in enumerate(names):
        last = sync and number == len(names) - 1
        try:
            remove(name, last)
            collected = last
        except NotFound as error:
            if not missing_ok:
                failures.append(error)
        except Unavailable:
            raise  # the connection, or the daemon as a whole: the others fare no better
        except PluggdError as error:
            failures.append(error)
        else:
            removed.append(name)
            if not app.json:
                out(clean(name))
    if sync and removed and not collected:
        app.call("gc.v1.run", {"wait": True})
    if app.json:
        json_document({"removed": removed})
    for failure in failures[:-1]:
        note(f"pluggctl: {failure.code}: {failure}")
    if failures:
        raise failures[-1]
