# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a layer may take, and what an error of the system means for it."""

from __future__ import annotations

import errno
from dataclasses import dataclass

from pluggd.errors import (
    Internal,
    InvalidArgument,
    PermissionDenied,
    PluggdError,
    ResourceExhausted,
)

from .entries import shown


@dataclass(frozen=True)
class Limits:
    """max_layer_size: uncompressed bytes, and the sizes that sparse files claim.
    max_entries: of one layer. max_window: of zstd, as a power of two."""

    max_layer_size: int
    max_entries: int
    max_window: int


_FULL = (errno.ENOSPC, errno.EDQUOT, errno.ENOMEM, errno.EMFILE, errno.ENFILE)
_BROKEN = (errno.EIO, errno.EROFS, errno.EBADF, errno.EFAULT, errno.ESTALE)


def system_error(name: bytes, error: OSError) -> PluggdError:
    """What to raise when an entry could not be made."""
    text = f"entry {shown(name)}: {error.strerror or error}"
    if error.errno in _FULL:
        return ResourceExhausted(f"{text}: resource exhausted")
    if error.errno in (errno.EPERM, errno.EACCES):
        return PermissionDenied(f"{text}: permission denied")
    if error.errno in _BROKEN:
        return Internal(text)
    return InvalidArgument(f"{text}: invalid argument")
