# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""`pluggctl images import` and `export`: archives in and out, with progress.

A regular file is handed to the daemon as a descriptor where it agreed to that;
pipes, and daemons that did not, get a stream.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import stat
import sys
import tempfile
from collections.abc import Generator

import click

from pluggd.cli.ctl.app import App, Fields
from pluggd.cli.ctl.blobs import chunks, refuse_terminal, write_all
from pluggd.cli.ctl.output import clean, json_document, note, out
from pluggd.cli.ctl.progress import Progress


def take_in(app: App, file: str, arguments: Fields) -> list[str]:
    """Import a file, or stdin for `-`, and print the names that now exist; the names."""
    with contextlib.ExitStack() as stack:
        if file == "-":
            source = sys.stdin.fileno()
        else:
            source = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
            stack.callback(os.close, source)
            if stat.S_ISDIR(os.fstat(source).st_mode):
                raise click.ClickException(
                    f"{file} is a directory; an OCI layout goes in as a tar file: "
                    f"tar -C {shlex.quote(file)} -c . | pluggctl images import -"
                )
        progress = stack.enter_context(Progress())
        if _by_descriptor(app, source):
            call = stack.enter_context(
                app.stream("transfer.v1.import", {**arguments, "fd": 0}, fds=[source])
            )
            call.end()
            for item in call:
                progress.show(item)
            answer = call.result
        else:
            answer = app.client.upload(
                "transfer.v1.import",
                arguments,
                chunks(source),
                on_item=progress.show,
                timeout=app.timeout,
            )
    names = [image["name"] for image in answer.get("images", [])]
    if app.json:
        json_document(answer)
        return names
    for image in answer.get("images", []):
        out(f"{clean(image['name'])} {clean(image['target'].get('digest', ''))}")
    if answer.get("skipped"):
        note(
            f"{answer['skipped']} entries without a name were skipped; "
            "--digests or --index-name gives them one"
        )
    return names


def write_out(app: App, file: str, arguments: Fields) -> None:
    """Export into a file, or to stdout for `-`."""
    if file == "-":
        refuse_terminal("an archive", "redirect it, or name a file")
        sys.stdout.flush()
        _export(app, sys.stdout.fileno(), arguments, by_descriptor=False)
        return
    with _replacing(file) as target:
        result = _export(
            app, target, arguments, by_descriptor=_by_descriptor(app, target)
        )
    if app.json:
        json_document(result)


def _by_descriptor(app: App, fd: int) -> bool:
    return "fds" in app.client.features and stat.S_ISREG(os.fstat(fd).st_mode)


def _export(app: App, target: int, arguments: Fields, *, by_descriptor: bool) -> Fields:
    extra: Fields = {"fd": 0} if by_descriptor else {}
    fds = [target] if by_descriptor else []
    with (
        Progress() as progress,
        app.stream("transfer.v1.export", {**arguments, **extra}, fds=fds) as call,
    ):
        for item in call:
            if item.get("data"):
                write_all(target, item["data"])
            if item.get("progress"):
                progress.show(item["progress"])
        return call.result


@contextlib.contextmanager
def _replacing(file: str) -> Generator[int]:
    """A descriptor whose bytes become the file at the end, all or none.

    What is there already and no regular file (/dev/null, a fifo) is written itself.
    """
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISREG(os.stat(file).st_mode):
            fd = os.open(file, os.O_WRONLY | os.O_CLOEXEC)
            try:
                yield fd
            finally:
                os.close(fd)
            return
    real = os.path.realpath(file)
    try:
        fd, temporary = tempfile.mkstemp(
            prefix=f".{os.path.basename(real)}.", dir=os.path.dirname(real)
        )
    except OSError as error:
        error.filename = file  # not the one that only we know
        raise
    try:
        mask = os.umask(0)
        os.umask(mask)
        os.fchmod(fd, 0o666 & ~mask)
        try:
            yield fd
        finally:
            os.close(fd)
        os.rename(temporary, real)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
