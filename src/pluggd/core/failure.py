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
from dataclasses import dataclass
from typing import cast

from pluggd.errors import PluggdError

_CORE = os.path.dirname(__file__) + os.sep
_CONTEXTLIB = getattr(contextlib, "__file__", "")


@dataclass(frozen=True, slots=True)
class Failure:
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
    return Failure(reason, code, "".join(traceback.format_exception(error)).rstrip())


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
