# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Errors of the file system, as errors of pluggd."""

from __future__ import annotations

import errno
import os
from collections.abc import Generator
from contextlib import contextmanager

from pluggd.errors import (
    DataLoss,
    Internal,
    PermissionDenied,
    PluggdError,
    ResourceExhausted,
)

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.EMLINK}
_DAMAGED = {errno.EIO, errno.EBADMSG, errno.EUCLEAN}
_FORBIDDEN = {errno.EPERM, errno.EACCES}


def disk_error(error: OSError, doing: str) -> PluggdError:
    """The class that says whose matter a failed file operation is."""
    reason = (os.strerror(error.errno) if error.errno else str(error)).lower()
    where = f" ({os.fsdecode(error.filename)})" if error.filename else ""
    text = f"{doing}: {reason}{where}"
    if error.errno in _FULL:
        return ResourceExhausted(f"{text}: resource exhausted")
    if error.errno in _DAMAGED:
        return DataLoss(f"{text}: data loss")
    if error.errno in _FORBIDDEN:
        return PermissionDenied(f"{text}: permission denied")
    return Internal(text)


@contextmanager
def failing_as(doing: str) -> Generator[None]:
    """Turn an OSError of the block into an error that says what was being done."""
    try:
        yield
    except OSError as error:
        raise disk_error(error, doing) from error
