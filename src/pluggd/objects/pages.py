# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Pages of a listing, put together from stored records without decoding them.

A record is stored as its canonical wire bytes, so a page is a map header, the key
of the list, an array header, the records as they lie, and the cursor. The bytes
are those that `encode` gives for the decoded page, which a test holds true. This
module does not know what the records are; a store brings the test that filters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from time import perf_counter_ns
from typing import Generic, TypeVar

import msgpack
import trio

from pluggd.errors import InvalidArgument
from pluggd.model.filters import Adaptor, Filter, parse_filters
from pluggd.model.record import Encoded, Record
from pluggd.objects.joined import joined_view
from pluggd.services.metadata import Metadata
from pluggd.services.rpc import Unfinished

L = TypeVar("L", bound=Record)

SLICE = 2_000_000
"""ns that a listing may take before others have their turn: some 4,000 records, or some
hundred with a filter that looks into them."""

BLOCK = 32
"""Records between two looks at the clock."""

_packer = msgpack.Packer()


def listed(
    metadata: Metadata,
    table: str,
    namespace: str,
    page: type[L],
    field: str,
    adaptor: Callable[[bytes], Adaptor],
    *,
    filters: Sequence[str],
    limit: int,
    after: str,
) -> Encoded[L] | Unfinished[L]:
    """What a store's `list` answers: a page of a table, in the order of the names.

    field: the list of the page. adaptor: reads a stored record for the filters.

    One that takes longer than `SLICE` goes on in slices, between which others have
    their turn and changes are seen: a record that is there all the time is on the page
    once, one that comes or goes meanwhile may be. Inside a transaction it is done at
    once. Raises InvalidArgument for a filter or a limit that is none.
    """
    check_limit(limit)
    matches = record_test(parse_filters(filters), adaptor)
    listing = Listing(page, field, limit=limit, matches=matches, after=after)

    def look(deadline: int) -> bool:
        return metadata.read(
            lambda view: listing.take(
                view.scan(table, namespace, after=listing.cursor), deadline
            )
        )

    if look(0 if joined_view() is not None else perf_counter_ns() + SLICE):
        return listing.encoded()

    async def finish() -> Encoded[L]:
        while True:
            await trio.lowlevel.checkpoint()
            if look(perf_counter_ns() + SLICE):
                return listing.encoded()

    return Unfinished(finish)


class Listing(Generic[L]):
    """A page in the making: the first `limit` matching records (0: all) as a `page`,
    whose list is `field`. cursor: the last name that was looked at."""

    def __init__(
        self,
        page: type[L],
        field: str,
        *,
        limit: int = 0,
        matches: Callable[[bytes], bool] | None = None,
        after: str = "",
    ) -> None:
        self.cursor = after
        self._page = page
        self._field = field
        self._limit = limit
        self._matches = matches
        self._chosen: list[bytes] = []
        self._last = ""
        self._next = ""

    def take(self, records: Iterable[tuple[str, bytes]], deadline: int = 0) -> bool:
        """Look at more records, names and stored bytes, from the cursor on.

        Whether that was all; otherwise the deadline (of `perf_counter_ns`, 0 for none)
        has passed.
        """
        records = iter(records)
        size = min(BLOCK, self._limit + 1) if self._limit else BLOCK
        while block := list(islice(records, size)):
            if self._matches is None and not self._limit:
                self._chosen += [record for _, record in block]
                self._last = block[-1][0]
            elif self._choose(block):
                return True
            self.cursor = block[-1][0]
            if deadline and perf_counter_ns() > deadline:
                return False
        return True

    def _choose(self, block: Iterable[tuple[str, bytes]]) -> bool:
        """Whether the page is full, and more would match."""
        matches, limit, chosen = self._matches, self._limit, self._chosen
        for name, record in block:
            if matches is not None and not matches(record):
                continue
            if limit and len(chosen) == limit:
                self._next = self._last
                return True
            chosen.append(record)
            self._last = name
        return False

    def encoded(self) -> Encoded[L]:
        """The page. Its `next` is the last name on it when more records match, else ""."""
        chosen, next_ = self._chosen, self._next
        parts = [_packer.pack_map_header(bool(chosen) + bool(next_))]
        if chosen:
            head = _packer.pack_array_header(len(chosen))
            parts += [_packer.pack(self._field), head, *chosen]
        if next_:
            parts += [_packer.pack("next"), _packer.pack(next_)]
        return Encoded(b"".join(parts), self._page)


def encoded_page(
    page: type[L],
    field: str,
    records: Iterable[tuple[str, bytes]],
    *,
    limit: int = 0,
    matches: Callable[[bytes], bool] | None = None,
) -> Encoded[L]:
    """A page of records that are at hand; arguments as of `Listing`."""
    listing = Listing(page, field, limit=limit, matches=matches)
    listing.take(records)
    return listing.encoded()


def record_test(
    filter_: Filter, adaptor: Callable[[bytes], Adaptor]
) -> Callable[[bytes], bool] | None:
    """The `matches` of `encoded_page` for a filter; `adaptor` reads a stored record."""
    if filter_.matches_all:
        return None
    return lambda record: filter_.match(adaptor(record))


def check_limit(limit: int) -> None:
    """Raises InvalidArgument for a negative one; 0 means all."""
    if limit < 0:
        raise InvalidArgument(f"limit {limit} must not be negative: invalid argument")
