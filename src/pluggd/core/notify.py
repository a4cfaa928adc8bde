# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tells systemd how the daemon does (sd_notify), when systemd asked to be told."""

from __future__ import annotations

import os
import socket


def notify(message: str) -> None:
    """Send `READY=1`, `STOPPING=1` or `STATUS=...` to $NOTIFY_SOCKET, if it is set.

    A supervisor that cannot be reached is no reason to fail: it will notice itself.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        sock.setblocking(False)
        try:
            sock.sendto(message.encode(), address)
        except OSError:
            return
