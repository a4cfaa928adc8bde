# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The object of a proxy plugin: the methods of a kind, passed on, within a deadline."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import trio

from pluggd.client.connection import Connection
from pluggd.client.stubs import make_stub
from pluggd.errors import DeadlineExceeded
from pluggd.services.kind import Kind
from pluggd.services.schema import MethodSchema, service_schema

T = TypeVar("T")


def make_proxy(
    kind: Kind[T], connection: Callable[[], Connection], *, address: str, timeout: float
) -> T:
    """The kind's interface over whatever connection there is at each call.

    timeout: seconds for a call that neither streams nor waits for news; 0 for no bound.
    """
    proxy = make_stub(kind, connection, "")
    if timeout > 0:
        for schema in service_schema(kind).methods:
            if not (schema.sends or schema.receives or schema.waits):
                method = getattr(proxy, schema.attribute)
                bounded = _bounded(schema, method, address, timeout)
                setattr(proxy, schema.attribute, bounded)
    return proxy


def _bounded(
    schema: MethodSchema,
    method: Callable[..., Awaitable[Any]],
    address: str,
    timeout: float,
) -> Callable[..., Awaitable[Any]]:
    @functools.wraps(method)
    async def call(**arguments: Any) -> Any:
        with trio.move_on_after(timeout):
            return await method(**arguments)
        raise DeadlineExceeded(
            f"{schema.name}: {address} did not answer within {timeout:g} s"
        )

    return call
