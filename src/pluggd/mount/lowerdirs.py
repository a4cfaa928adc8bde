# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Overlay mounts with more layers than fit a page: shorter names for the same layers.

The options of mount(2) are one page, and an image of fifty layers below a long root
exceeds it. Relative to the directory that all layers share, fifty become some hundred
bytes. The working directory for that is a thread's own (unshare(2), CLONE_FS), so that
neither the process nor another thread notices.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence

from pluggd.errors import InvalidArgument
from pluggd.mount import syscalls

_PREFIX = "lowerdir="
_SLACK = 512
"""What the kernel may add or count besides."""

PAGE = os.sysconf("SC_PAGESIZE")


def shortened(options: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """Where to mount from, and the options there; "" and the same when they fit.

    Raises InvalidArgument when they do not fit in any form.
    """
    if _length(options) <= PAGE - _SLACK:
        return "", tuple(options)
    lower = next((o for o in options if o.startswith(_PREFIX)), "")
    layers = lower.removeprefix(_PREFIX).split(":")
    directory = ""
    if len(layers) > 1 and all(os.path.isabs(layer) for layer in layers):
        directory = os.path.commonpath(layers)
        layers = [os.path.relpath(layer, directory) for layer in layers]
        replaced = _PREFIX + ":".join(layers)
        options = [replaced if option == lower else option for option in options]
    if _length(options) > PAGE - 1:
        raise InvalidArgument(
            f"mount options are {_length(options)} bytes for {len(layers)} layers, and "
            f"the kernel takes {PAGE - 1}: commit fewer layers, or use another "
            "snapshotter: invalid argument"
        )
    return directory, tuple(options)


def in_directory(directory: str, function: Callable[[], None]) -> None:
    """Call a function with this working directory; here when it is ""."""
    if not directory:
        function()
        return
    failure: list[BaseException] = []

    def run() -> None:
        try:
            syscalls.unshare(syscalls.CLONE_FS)
            os.chdir(directory)
            function()
        except BaseException as error:  # noqa: BLE001  # raised again by the caller
            failure.append(error)

    thread = threading.Thread(target=run, name="mount", daemon=True)
    thread.start()
    thread.join()
    if failure:
        raise failure[0]


def _length(options: Sequence[str]) -> int:
    return sum(len(os.fsencode(option)) + 1 for option in options)
