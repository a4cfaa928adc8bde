# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""How to run one module of a plugin in a process of its own.

The child imports `<package>.<module>` from the very folder of the plugin, in a checkout
and in a wheel alike, without running the `__init__` of the plugin, which would import
trio and the registration. It calls the module's `main(arguments)`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import trio


class ChildFailed(Exception):
    """Its last line of standard error, or how it ended."""


_BOOT = """\
import importlib, sys, types
package, folder, module, *arguments = sys.argv[1:]
top = package.partition(".")[0]
for name in (top, package):
    made = sys.modules[name] = types.ModuleType(name)
    made.__path__ = []
made.__path__ = [folder]
importlib.import_module(package + "." + module).main(arguments)
"""


async def run(package: str, folder: Path, module: str, *arguments: str) -> bytes:
    """What the module wrote to standard output. Killed on cancellation.

    Its standard input stays open and empty as long as this process lives. Raises
    ChildFailed when it ends with anything but 0.
    """
    process = await trio.lowlevel.open_process(
        command(package, folder, module, *arguments),
        env=variables(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    errors: list[bytes] = []
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_read, process.stderr, errors)
            output: list[bytes] = []
            await _read(process.stdout, output)
        await process.wait()
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            # It was killed: this takes as long as the kernel needs to clear it away.
            await process.wait()
            for end in (process.stdin, process.stdout, process.stderr):
                await end.aclose()
    if process.returncode != 0:
        last = b"".join(errors).decode(errors="replace").strip().rpartition("\n")[2]
        raise ChildFailed(last or f"it ended with {process.returncode}")
    return b"".join(output)


async def _read(stream: trio.abc.ReceiveStream, into: list[bytes]) -> None:
    into.extend([bytes(chunk) async for chunk in stream])


def command(package: str, folder: Path, module: str, *arguments: str) -> list[str]:
    """The command line, to be run with `variables()`."""
    boot = [sys.executable, "-P", "-c", _BOOT]
    return [*boot, package, str(folder), module, *arguments]


def variables() -> dict[str, str]:
    """The environment of this process, and its module search path."""
    path = os.pathsep.join(entry for entry in sys.path if entry)
    return {**os.environ, "PYTHONPATH": path}
