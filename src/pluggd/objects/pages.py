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
from typing import TypeVar

import msgpack

from pluggd.errors import InvalidArgument
from pluggd.model.filters import Adaptor, Filter, parse_filters
from pluggd.model.record import Encoded, Record
from pluggd.services.metadata import Metadata

L = TypeVar("L", bound=Record)

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
) -> Encoded[L]:
    """What a store's `list` answers: a page of a table, in the order of the names.

    field: the list of the page. adaptor: reads a stored record for the filters.
    Raises InvalidArgument for a filter or a limit that is none.
    """
    check_limit(limit)
    matches = record_test(parse_filters(filters), adaptor)
    return metadata.read(
        lambda view: encoded_page(
            page,
            field,
            view.scan(table, namespace, after=after),
            limit=limit,
            matches=matches,
        )
    )


def encoded_page(
    page: type[L],
    field: str,
    records: Iterable[tuple[str, bytes]],
    *,
    limit: int = 0,
    matches: Callable[[bytes], bool] | None = None,
) -> Encoded[L]:
    """The first `limit` matching records (0: all) as a `page`, whose list is `field`.

    records: names and stored bytes in the order of the listing, from its cursor on.
    The page's `next` is the last name on it when more records match, else "".
    """
    chosen: list[bytes] = []
    last = next_ = ""
    for name, record in records:
        if matches is not None and not matches(record):
            continue
        if limit and len(chosen) == limit:
            next_ = last
            break
        chosen.append(record)
        last = name
    parts: list[bytes] = []
    if chosen:
        parts += [_packer.pack(field), _packer.pack_array_header(len(chosen)), *chosen]
    if next_:
        parts += [_packer.pack("next"), _packer.pack(next_)]
    header = _packer.pack_map_header(bool(chosen) + bool(next_))
    return Encoded(b"".join([header, *parts]), page)


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
