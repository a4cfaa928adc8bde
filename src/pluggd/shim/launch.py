# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Starts a shim and leaves it: what must happen once, and costs memory to have.

Run as a file by `python -I -S`, with the bundle, the directory of packages and the
shim's own arguments. It makes the socket before it returns, so that whoever waited for
it can connect; it becomes a child subreaper, which only ctypes can ask for, and survives
the exec into the shim, which then needs no ctypes.
"""

from __future__ import annotations

import ctypes
import os
import socket
import sys

PR_SET_CHILD_SUBREAPER = 36
SOCKET = "shim.sock"
SHIM = """
import sys
sys.path.insert(0, sys.argv[1])
from pluggd.shim.server import main
main(sys.argv[2:])
"""


def launch(bundle: str, packages: str, arguments: list[str]) -> None:
    """Return when the shim listens. Raises OSError."""
    os.chdir(bundle)
    ready, done = os.pipe()
    child = os.fork()
    if child:
        os.close(done)
        os.waitpid(child, 0)
        error = os.read(ready, 4096)
        if error != b"ok":
            raise OSError(error.decode() or "it died")
        return
    os.setsid()
    if os.fork():
        os._exit(0)  # so the shim is nobody's child but that of init
    try:
        listener = _prepare()
    except OSError as error:
        os.write(done, str(error).encode())
        os._exit(1)
    os.write(done, b"ok")
    command = [sys.executable, "-I", "-S", "-c", SHIM, packages]
    os.execv(sys.executable, [*command, str(listener), *arguments])


def _prepare() -> int:
    """In the process that becomes the shim, whose pid is then that of the socket."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(SOCKET)
    os.chmod(SOCKET, 0o600)
    listener.listen(64)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")
    null = os.open(os.devnull, os.O_RDWR)
    log = os.open("shim.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for number, fd in enumerate((null, null, log)):
        os.dup2(fd, number)
    os.set_inheritable(listener.fileno(), True)
    return listener.detach()


if __name__ == "__main__":
    launch(sys.argv[1], sys.argv[2], sys.argv[3:])
