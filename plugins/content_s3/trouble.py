# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a failed request means, and whether the object store is well at the moment."""

from __future__ import annotations

import re
from collections.abc import Callable

import trio

from pluggd.errors import DataLoss, FailedPrecondition, PluggdError, Unavailable

_xml = re.compile(r"<Code>([^<]*)</Code>(?:\s*<Message>([^<]*)</Message>)?")


def reason_of(error: Exception) -> str:
    """A failed request in a few words: without the address, and without how the library
    is built."""
    text = str(error).partition("\n\nDebug source")[0].strip()
    said = _xml.search(text)
    if said is not None:
        code, message = said.groups()
        return f"{code} ({message.strip().rstrip('.')})" if message else code
    text = text.rpartition(" - ")[2]
    if "error sending request" in text:
        return "cannot be reached"
    return text.splitlines()[0].rstrip(": ") if text else type(error).__name__


def request_error(error: Exception, where: str, doing: str) -> PluggdError:
    """The class that says whose matter a failed request is."""
    reason = reason_of(error)
    text = str(error)
    if "NoSuchBucket" in text:
        return FailedPrecondition(
            f"{where}: {doing}: there is no such bucket; make it, or correct `bucket`: "
            f"failed precondition"
        )
    if "status code: 416" in text or "but object was only" in text:
        return DataLoss(f"{where}: {doing}: the object is too short: data loss")
    return Unavailable(f"{where}: {doing}: {reason}: unavailable")


class Health:
    """Remembers trouble, and tells when it comes and goes."""

    def __init__(self, degraded: Callable[[str], None]) -> None:
        self._degraded = degraded
        self._ill = trio.Event()

    @property
    def is_well(self) -> bool:
        return not self._ill.is_set()

    def trouble(self, error: PluggdError) -> None:
        self._degraded(str(error))
        self._ill.set()

    def well(self) -> None:
        if self._ill.is_set():
            self._degraded("")
            self._ill = trio.Event()

    async def troubled(self) -> None:
        await self._ill.wait()
