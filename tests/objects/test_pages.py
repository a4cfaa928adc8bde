# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Pages put together from stored bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluggd.errors import InvalidArgument
from pluggd.model.filters import parse_filters
from pluggd.model.record import decode, encode
from pluggd.objects.pages import BLOCK, Listing, check_limit, encoded_page, record_test
from pluggd.services.images import Image, ImageList

NAMES = [f"n{number:05}" for number in range(70_000)]


def has_a_seven(record: bytes) -> bool:
    return b"7" in record


def stored(names: list[str]) -> list[tuple[str, bytes]]:
    return [(name, encode(Image(name=name))) for name in names]


@pytest.mark.parametrize("count", [0, 1, 15, 16, 17, 65_535, 65_536])
def test_a_page_has_the_bytes_of_the_decoded_page(count: int) -> None:
    page = encoded_page(ImageList, "images", stored(NAMES[:count]))
    assert page.data == encode(page.value)
    assert [image.name for image in page.value.images] == NAMES[:count]


@given(
    st.lists(st.text(min_size=1, max_size=40), unique=True),
    st.integers(min_value=0, max_value=12),
)
def test_next_leads_to_the_rest(names: list[str], limit: int) -> None:
    names.sort(key=str.encode)
    page = encoded_page(ImageList, "images", stored(names), limit=limit)
    assert page.data == encode(page.value)
    shown = [image.name for image in page.value.images]
    assert shown == (names[:limit] if limit else names)
    assert page.value.next == (shown[-1] if len(shown) < len(names) else "")


@given(
    st.integers(min_value=0, max_value=200),
    st.integers(min_value=0, max_value=90),
    st.booleans(),
)
def test_slices_come_to_the_same_page(count: int, limit: int, filtered: bool) -> None:
    records = stored(NAMES[:count])
    matches = has_a_seven if filtered else None
    whole = encoded_page(ImageList, "images", records, limit=limit, matches=matches)
    listing = Listing(ImageList, "images", limit=limit, matches=matches)
    slices = 1
    while not listing.take([r for r in records if r[0] > listing.cursor], 1):
        slices += 1
    assert listing.encoded().data == whole.data
    if not limit:  # one for each block, and the one that finds nothing more
        assert slices == -(-count // BLOCK) + 1


def test_the_last_page_knows_that_nothing_more_matches() -> None:
    names = ["a1", "b1", "a2", "b2"]

    def starts_with_a(record: bytes) -> bool:
        return decode(record, Image).name.startswith("a")

    page = encoded_page(
        ImageList, "images", stored(names), limit=2, matches=starts_with_a
    )
    assert [image.name for image in page.value.images] == ["a1", "a2"]
    assert page.value.next == ""


def test_a_filter_that_matches_all_reads_no_record() -> None:
    def unused(record: bytes) -> None:
        raise AssertionError("a record was read")

    assert record_test(parse_filters([]), unused) is None  # type: ignore[arg-type]


def test_a_negative_limit_is_refused() -> None:
    check_limit(0)
    with pytest.raises(InvalidArgument) as caught:
        check_limit(-1)
    assert str(caught.value) == "limit -1 must not be negative: invalid argument"
