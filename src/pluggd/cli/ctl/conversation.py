# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""This process's stdin, stdout and terminal, joined to a process of a task.

One loop waits for the daemon, for stdin and for signals. Stdin is read only when the
daemon can take more, so a process that does not read holds up whoever writes to us, as
in any pipeline; and output that our reader does not take holds up the process.
"""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Generator
from contextlib import ExitStack, contextmanager

from pluggd.cli.ctl.app import App, Fields
from pluggd.cli.ctl.output import note
from pluggd.cli.ctl.terminal import DetachKeys, raw, window, write_all
from pluggd.client.blocking import Stream
from pluggd.client.plain import map_in
from pluggd.errors import NotFound, PluggdError

PIECE = 1 << 16
FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
"""Signals that are meant for the process, when it has no terminal of its own."""


def converse(
    app: App,
    id: str,
    exec_id: str = "",
    *,
    terminal: bool,
    stdin: bool,
    since: int,
    forward: bool = True,
) -> int | None:
    """Until the process is over: its exit code; or None when the user detached.

    terminal: the process has one, so ours becomes raw and its size is passed on.
    stdin: pass ours on, with its end. since: the position of the log to begin at.
    forward: send it the signals that we get. Raises PluggdError; BrokenPipeError when
    nobody reads our stdout.
    """
    talk = _Conversation(app, id, exec_id, terminal=terminal, stdin=stdin)
    with ExitStack() as stack:
        wake = stack.enter_context(talk.signals(forward and not terminal))
        arguments: Fields = {"id": id, "exec_id": exec_id, "since": since}
        stream = stack.enter_context(
            app.client.stream("tasks.v1.attach", {**arguments, "lossless": True})
        )
        if terminal and sys.stdin.isatty():
            stack.enter_context(raw(sys.stdin.fileno()))
        detached = talk.run(stream, wake)
        if detached:
            return None
        result = map_in(stream.result, "exit")
    if result.get("error"):
        note(f"pluggctl: {result['error']}")
    return int(result.get("exit_status", 0))


class _Conversation:
    def __init__(
        self, app: App, id: str, exec_id: str, *, terminal: bool, stdin: bool
    ) -> None:
        self._app = app
        self._process: Fields = {"id": id, "exec_id": exec_id}
        self._terminal = terminal
        self._keys = DetachKeys() if terminal and sys.stdin.isatty() else None
        self._stdin = sys.stdin.fileno() if stdin else -1
        self._size = (0, 0)

    @contextmanager
    def signals(self, forward: bool) -> Generator[int]:
        """A descriptor that becomes readable with the numbers of signals."""
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        os.set_blocking(reader, False)
        caught = (*(FORWARDED if forward else ()), signal.SIGWINCH)
        before = [(number, signal.signal(number, _ignore)) for number in caught]
        old = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        try:
            yield reader
        finally:
            signal.set_wakeup_fd(old)
            for number, handler in before:
                signal.signal(number, handler)
            os.close(reader)
            os.close(writer)

    def run(self, stream: Stream, wake: int) -> bool:
        """Whether the user detached."""
        self._resize(stream)
        while True:
            items = stream.arrived()
            for item in items:
                self._show(item)
            if stream.answered and not items:
                return False
            if items:
                continue
            waiting: list[int] = [self._app.client.fileno(), wake]
            if self._stdin >= 0 and stream.credit > 1:
                waiting.append(self._stdin)
            ready, _, _ = select.select(waiting, [], [])
            if wake in ready:
                self._signalled(stream, os.read(wake, 64))
            if self._stdin in ready and self._pass_on(stream):
                return True

    def _show(self, item: Fields) -> None:
        if item.get("lost"):
            note(f"pluggctl: {item['lost']} bytes of the log are lost")
        fd = 2 if item.get("stream") == "stderr" else 1
        write_all(fd, item.get("data", b""))

    def _pass_on(self, stream: Stream) -> bool:
        try:
            data = os.read(self._stdin, PIECE)
        except OSError:
            data = b""  # a terminal that is gone
        if not data:
            self._stdin = -1
            stream.send({"close": True})
            return False
        detach = False
        if self._keys is not None:
            data, detach = self._keys.take(data)
        if data:
            stream.send({"data": data})
        return detach

    def _signalled(self, stream: Stream, numbers: bytes) -> None:
        for number in numbers:
            if number == signal.SIGWINCH:
                self._resize(stream)
                continue
            try:
                self._app.call("tasks.v1.kill", {**self._process, "signal": number})
            except NotFound:
                continue  # it has ended meanwhile
            except PluggdError as error:
                note(f"pluggctl: {error.code}: {error}")

    def _resize(self, stream: Stream) -> None:
        size = window(sys.stdout.fileno()) if self._terminal else (0, 0)
        if all(size) and size != self._size:
            self._size = size
            stream.send({"width": size[0], "height": size[1]})


def _ignore(*_: object) -> None:
    """The wakeup descriptor tells it."""
