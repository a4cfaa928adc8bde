# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The two errors that a client makes itself: nobody there, and nobody there any more.

Both are `unavailable`, as a daemon that is down would say if it could.
"""

from __future__ import annotations

import errno
import os
import stat

from pluggd.errors import Unavailable


class ConnectFailed(Unavailable):
    """There is nobody at the address, or not for us."""


class ConnectionLost(Unavailable):
    """The daemon went away in the middle; whether the call had an effect is unknown."""


def reason(error: OSError) -> str:
    """What the system says, in lower case, as part of a sentence."""
    return error.strerror.lower() if error.strerror else (str(error) or "timed out")


def connect_failed(address: str, error: OSError) -> ConnectFailed:
    why = reason(error)
    if error.errno == errno.ECONNREFUSED and not _is_socket(address):
        why = "it is not a socket"
    return ConnectFailed(f"cannot connect to {address}: {why}")


def _is_socket(address: str) -> bool:
    try:
        return stat.S_ISSOCK(os.stat(address).st_mode)
    except OSError:
        return True  # gone just now, or in nobody's reach: what was said before stands


def connection_lost(address: str, why: str) -> ConnectionLost:
    return ConnectionLost(f"connection to {address} lost: {why}")
