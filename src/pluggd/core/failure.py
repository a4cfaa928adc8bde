# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""From an exception to what an operator reads: one line, a class, a traceback.

The line names the exception and the place where it was raised, so that a status is
enough to know where to look; the traceback goes to the log, once.
"""

from __future__ import annotations

import contextlib
import os
import traceback
from typing import cast

from pluggd.errors import PluggdError
from pluggd.struct import Struct

_CORE = os.path.dirname(__file__) + os.sep
_CONTEXTLIB = getattr(contextlib, "__file__", "")


class Failure(Struct, frozen=True):
    """reason: one line. code: a class of `pluggd.errors`. traceback: all of it, or ""."""

    reason: str
    code: str = "unknown"
    traceback: str = ""


def failure_of(error: BaseException) -> Failure:
    leaves = _leaves(error)
    reason = "; ".join(_line(leaf) for leaf in leaves)
    codes = {
        leaf.code if isinstance(leaf, PluggdError) else "unknown" for leaf in leaves
    }
    code = codes.pop() if len(codes) == 1 else "unknown"
    if all(isinstance(leaf, PluggdError) and not _place(leaf) for leaf in leaves):
        # The core's own verdict: where in the core it was reached helps nobody.
        return Failure(reason, code)
    return Failure(reason, code, "".join(traceback.format_exception(error)).rstrip())


def waits_at(error: BaseException, path: str) -> str:
    """`file:line` in the module or folder at the path where it waited, when this was
    raised to end the wait; "" when it was not there."""
    for leaf in _leaves(error):
        for frame in reversed(traceback.extract_tb(leaf.__traceback__)):
            if frame.filename == path or frame.filename.startswith(path + os.sep):
                return f"{frame.filename}:{frame.lineno}"
    return ""


def _leaves(error: BaseException) -> list[BaseException]:
    if not isinstance(error, BaseExceptionGroup):
        return [error]
    inner = cast("BaseExceptionGroup[BaseException]", error).exceptions
    return [leaf for child in inner for leaf in _leaves(child)]


def _line(error: BaseException) -> str:
    if isinstance(error, PluggdError):
        text = error.message
    else:
        text = f"{type(error).__name__}: {error}".rstrip(": ")
    text = " ".join(text.split())
    place = _place(error)
    return f"{text} ({place})" if place else text


def _place(error: BaseException) -> str:
    """The last line outside of the core: what the core raises is about its caller."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith(("<frozen ", _CORE, _CONTEXTLIB))
    ]
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else ""
