# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""An implementation behind a socket and the proxy in front of it, in one process."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import trio

from pluggd.core.settings import ProxySettings
from pluggd.plugin import NoConfig
from pluggd.proxy import serve_kind
from pluggd.proxy.discovery import ProxyStart
from pluggd.services.kind import Kind
from pluggd.testing import FakeContext

T = TypeVar("T")


@asynccontextmanager
async def proxied(kind: Kind[T], implementation: T) -> AsyncGenerator[T]:
    """The implementation as who needs the kind sees it through a proxy."""
    with tempfile.TemporaryDirectory(prefix="pluggd-", dir="/tmp") as directory:
        address = str(Path(directory) / "sock")
        settings = ProxySettings(kind=kind.name, address=address)
        async with trio.open_nursery() as nursery:
            await nursery.start(serve_kind, kind, implementation, address)
            context = FakeContext(NoConfig(), nursery=nursery)
            async with ProxyStart(kind, settings)(context) as proxy:
                yield proxy
            nursery.cancel_scope.cancel()
