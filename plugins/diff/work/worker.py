# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""A worker process: takes jobs from a socket, one after the other, until it closes.

Extracting ten thousand small files is Python code and system calls for seconds; in the
daemon it would keep the event loop and every thread waiting. Here it has an interpreter
of its own, is stopped by a signal at any point, and gives its memory back at its end.
"""

from __future__ import annotations

import json
import os
import resource
import socket
import sys
import time
import traceback
from collections.abc import Sequence

from pluggd.errors import PluggdError

from .apply import Message, apply
from .create import create

JOBS = {"apply": apply, "create": create}
MAX_MESSAGE = 1 << 20
MAX_FDS = 4
INTERVAL = 0.1
"""Seconds between two reports of progress."""


def main(arguments: Sequence[str]) -> None:
    """`fd` of a socket of the type SEQPACKET."""
    sock = socket.socket(fileno=int(arguments[0]))
    os.umask(0)
    sys.setswitchinterval(0.001)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    while True:
        data, fds, _, _ = socket.recv_fds(sock, MAX_MESSAGE, MAX_FDS)
        if not data:
            return
        try:
            answer = _work(sock, json.loads(data), fds)
        finally:
            # Before the answer: an ingest is committed when nobody can write to it.
            for fd in fds:
                os.close(fd)
        _send(sock, answer)


def _work(sock: socket.socket, job: Message, fds: list[int]) -> Message:
    last = time.monotonic()

    def progress(state: Message) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= INTERVAL:
            last = now
            _send(sock, {"progress": state})

    try:
        return {"done": JOBS[job.pop("job")](job, fds, progress)}
    except PluggdError as error:
        return {"error": [error.code, error.message]}
    except Exception:  # noqa: BLE001  # a bug, to be logged by the daemon
        return {"bug": traceback.format_exc()}


def _send(sock: socket.socket, message: Message) -> None:
    try:
        sock.send(json.dumps(message).encode())
    except OSError:
        # The daemon is gone, or does not want this any more.
        os._exit(1)
