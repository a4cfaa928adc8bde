# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Listings of any length, of which neither side ever holds more than a page.

Every `list` takes `limit` and `after` and says `next`; here that is a loop. It asks for
smaller pages where a page does not fit a message. Between two pages the store may
change: what is there all the time comes once. Imports nothing heavy.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from typing import Any, Protocol, TypeVar

from pluggd.client.plain import Fields
from pluggd.errors import ResourceExhausted

PAGE = 1000
"""Records of a page, unless told."""


class Page(Protocol):
    """What every `list` returns besides its records."""

    @property
    def next(self) -> str: ...


P = TypeVar("P", bound=Page)


async def pages(
    method: Callable[..., Awaitable[P]],
    /,
    *,
    limit: int = PAGE,
    after: str = "",
    **arguments: Any,
) -> AsyncGenerator[P]:
    """The pages of a listing, in order.

        async for page in pages(client.images.list, filters=["name~=/^docker.io/"]):
            for image in page.images: ...

    method: a `list` of a service. limit: records of a page. after: begin behind this
    name. Raises what the method raises.
    """
    while True:
        try:
            page = await method(limit=limit, after=after, **arguments)
        except ResourceExhausted:
            if limit <= 1:
                raise
            limit //= 2
            continue
        yield page
        after = page.next
        if not after:
            return


def records(
    call: Callable[[Fields], Fields],
    key: str,
    arguments: Mapping[str, Any] | None = None,
    page: int = PAGE,
) -> Iterator[Any]:
    """The records of a listing, page by page.

    call: asks for one page, given the arguments. key: of the records in its answer.
    """
    given: Fields = {**(arguments or {}), "limit": page}
    while True:
        try:
            answer = call(given)
        except ResourceExhausted:
            if given["limit"] <= 1:
                raise
            given["limit"] //= 2
            continue
        yield from answer.get(key, [])
        if not answer.get("next"):
            return
        given["after"] = answer["next"]
