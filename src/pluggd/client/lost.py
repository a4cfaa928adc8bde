# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The two errors that a client makes itself: nobody there, and nobody there any more.

Both are `unavailable`, as a daemon that is down would say if it could.
"""

from __future__ import annotations

from pluggd.errors import Unavailable


class ConnectFailed(Unavailable):
    """There is nobody at the address, or not for us."""


class ConnectionLost(Unavailable):
    """The daemon went away in the middle; whether the call had an effect is unknown."""


def reason(error: OSError) -> str:
    """What the system says, in lower case, as part of a sentence."""
    return error.strerror.lower() if error.strerror else (str(error) or "timed out")


def connect_failed(address: str, error: OSError) -> ConnectFailed:
    return ConnectFailed(f"cannot connect to {address}: {reason(error)}")


def connection_lost(address: str, why: str) -> ConnectionLost:
    return ConnectionLost(f"connection to {address} lost: {why}")
