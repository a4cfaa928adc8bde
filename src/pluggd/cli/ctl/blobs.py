# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Moving bytes between the daemon and files: by descriptor, or else as a stream.

With a descriptor no byte passes through the daemon; the kernel copies where it can
(sendfile, splice), and else a buffer does.
"""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Iterator

import click

from pluggd.cli.ctl.app import App, Fields
from pluggd.errors import AlreadyExists, FailedPrecondition, NotImplemented_

CHUNK = 1 << 20  # bytes in one item of a stream, at most (services.schema)
COPY = 1 << 20


def chunks(fd: int) -> Iterator[bytes]:
    """What can be read from a descriptor, until its end."""
    while data := os.read(fd, CHUNK):
        yield data


def write_all(fd: int, data: bytes | memoryview) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def copy(source: int, target: int) -> int:
    """Copy until the end of `source`; returns the number of bytes."""
    copied = 0
    try:
        while count := os.sendfile(target, source, None, 1 << 30):
            copied += count
        return copied
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOSYS, errno.EOVERFLOW):
            raise
    # sendfile reads files only; stdin is often a pipe, and stdout may append
    while data := os.read(source, COPY):
        write_all(target, data)
        copied += len(data)
    return copied


def refuse_terminal(what: str, way_out: str) -> None:
    """A terminal shown binary data may need a reset."""
    if sys.stdout.isatty():
        raise click.UsageError(f"{what} is binary data: {way_out}")


def to_stdout(app: App, digest: str, *, force: bool) -> None:
    if not force:
        refuse_terminal("a blob", "redirect it to a file, or use --force")
    sys.stdout.flush()
    target = sys.stdout.fileno()
    if "fds" in app.client.features:
        try:
            opened = app.call("content.v1.open", {"digest": digest})
        except NotImplemented_:
            pass  # a store without files: its bytes come as a stream
        else:
            try:
                copy(opened["fd"], target)
            finally:
                os.close(opened["fd"])
            return
    with app.stream("content.v1.fetch", {"digest": digest}) as items:
        for data in items:
            write_all(target, data)


def from_stdin(
    app: App,
    ref: str,
    *,
    total: int,
    expected: str,
    labels: dict[str, str],
    lease: str,
) -> Fields:
    """Ingest stdin; returns the info of the blob, also when it was there already."""
    try:
        return _ingest(
            app, ref, total=total, expected=expected, labels=labels, lease=lease
        )
    except AlreadyExists as error:
        # The store says which one it has; with a lease, it is now on it.
        digest = re.search(r"[a-z0-9]+:[0-9a-f]{64,}", error.message)
        if digest is None:
            raise
        answer = app.call("content.v1.info", {"digest": digest[0]})
        info: Fields = answer.get("info", {})
        return info


def _ingest(
    app: App,
    ref: str,
    *,
    total: int,
    expected: str,
    labels: dict[str, str],
    lease: str,
) -> Fields:
    source = sys.stdin.fileno()
    begin: Fields = {"ref": ref, "total": total, "expected": expected}
    if "fds" in app.client.features:
        try:
            opened = app.call("content.v1.ingest_open", begin, lease=lease)
        except (NotImplemented_, FailedPrecondition):
            pass  # a store without files takes a stream
        else:
            try:
                written = copy(source, opened["fd"])
            finally:
                os.close(opened["fd"])
            result = app.call(
                "content.v1.write",
                {
                    **begin,
                    "action": "commit",
                    "offset": written,
                    "total": total or written,
                    "labels": labels,
                },
                lease=lease,
            )
            answer = app.call("content.v1.info", {"digest": result["digest"]})
            found: Fields = answer.get("info", {})
            return found
    answer = app.client.upload(
        "content.v1.ingest",
        {**begin, "labels": labels},
        chunks(source),
        timeout=app.timeout,
        lease=lease,
    )
    info: Fields = answer.get("info", {})
    return info
