# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The newest events in memory: bounded, without holes, decoded once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pluggd.exchange.tail import Item, Tail
from pluggd.model.record import encode
from pluggd.services.envelope import Envelope
from pluggd.services.events import EventItem


def tail(last: int = 0, *, events: int = 1000, size: int = 1_000_000) -> Tail:
    return Tail(last, max_events=events, max_bytes=size)


def seqs(items: list[Item] | None) -> list[int] | None:
    return None if items is None else [item.seq for item in items]


def test_events_are_read_after_a_cursor() -> None:
    newest = tail(10)
    newest.add([(11, b"a"), (12, b"b"), (13, b"c")])
    assert seqs(newest.after(10, 100)) == [11, 12, 13]
    assert seqs(newest.after(11, 1)) == [12]
    assert seqs(newest.after(13, 100)) == []
    assert seqs(newest.after(14, 100)) == []  # read from the log before it was told


def test_what_came_before_the_tail_is_for_the_log() -> None:
    assert seqs(tail(10).after(9, 100)) is None
    assert seqs(tail(10).after(10, 100)) == []


def test_the_oldest_leave_when_there_are_too_many() -> None:
    newest = tail(events=3)
    newest.add((seq, b"x") for seq in range(1, 6))
    assert (newest.first, newest.last, len(newest), newest.size) == (3, 5, 3, 3)
    assert seqs(newest.after(1, 100)) is None


def test_the_oldest_leave_when_they_are_too_large() -> None:
    newest = tail(size=10)
    newest.add([(1, b"12345"), (2, b"12345"), (3, b"1")])
    assert (newest.first, newest.size) == (2, 6)


def test_one_event_is_kept_however_large() -> None:
    newest = tail(size=10)
    newest.add([(1, b"x" * 100)])
    assert seqs(newest.after(0, 100)) == [1]


def test_an_event_that_was_in_the_log_already_is_not_taken_twice() -> None:
    newest = tail(5)
    newest.add([(5, b"old"), (6, b"new")])
    assert seqs(newest.after(5, 100)) == [6]


def test_a_jump_in_the_numbers_starts_the_tail_anew() -> None:
    newest = tail()
    newest.add([(1, b"a"), (2, b"b"), (9, b"c")])
    assert (newest.first, newest.last, newest.size) == (9, 9, 1)
    assert seqs(newest.after(2, 100)) is None


def test_what_the_log_has_no_more_is_forgotten() -> None:
    newest = tail()
    newest.add([(1, b"a"), (2, b"b"), (3, b"c")])
    newest.trimmed(3)
    assert seqs(newest.after(1, 100)) is None
    assert seqs(newest.after(2, 100)) == [3]
    newest.trimmed(100)
    assert (newest.first, newest.last, newest.size) == (4, 3, 0)


def test_an_item_carries_the_stored_bytes() -> None:
    envelope = Envelope(seq=7, timestamp=1, namespace="ns", topic="/a")
    item = Item(7, encode(envelope))
    assert item.encoded.data == encode(EventItem(envelope=envelope))
    assert item.encoded is item.encoded
    assert item.envelope is item.envelope


@given(
    st.lists(st.integers(1, 50), max_size=60),
    st.integers(1, 8),
    st.integers(1, 200),
    st.integers(0, 70),
)
def test_a_reader_gets_all_or_is_sent_to_the_log(
    sizes: list[int], events: int, size: int, cursor: int
) -> None:
    newest = tail(events=events, size=size)
    newest.add((seq, b"x" * n) for seq, n in enumerate(sizes, 1))
    last = len(sizes)
    found = seqs(newest.after(cursor, 1000))
    if found is None:
        assert cursor < last
    else:
        assert found == list(range(cursor + 1, last + 1))
    assert len(newest) <= events
    assert newest.size <= size or len(newest) == 1
