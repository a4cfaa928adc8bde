# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Clients of the daemon: `connect` for programs on trio, `blocking` for scripts.

    async with pluggd.client.connect("/run/pluggd/pluggd.sock", namespace="ci") as client:
        async for page in pluggd.client.pages(client.images.list):
            for image in page.images:
                print(image.name)

    with pluggd.client.blocking.Client("/run/pluggd/pluggd.sock", namespace="ci") as client:
        for image in client.each("images.v1.list", "images"):
            print(image["name"])

Names are imported when they are used: the blocking client must not pay for trio.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pluggd.client import blocking as blocking
    from pluggd.client.client import Client as Client
    from pluggd.client.client import connect as connect
    from pluggd.client.lost import ConnectFailed as ConnectFailed
    from pluggd.client.lost import ConnectionLost as ConnectionLost
    from pluggd.client.paging import pages as pages

__all__ = ["Client", "ConnectFailed", "ConnectionLost", "blocking", "connect", "pages"]

_HOMES = {
    "Client": "pluggd.client.client",
    "connect": "pluggd.client.client",
    "ConnectFailed": "pluggd.client.lost",
    "ConnectionLost": "pluggd.client.lost",
    "pages": "pluggd.client.paging",
}


def __getattr__(name: str) -> object:
    import importlib

    if name == "blocking":
        return importlib.import_module("pluggd.client.blocking")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
