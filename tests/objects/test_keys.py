# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Names of any length and any characters under keys of at most 511 bytes."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import example, given

from pluggd.errors import InvalidArgument
from pluggd.objects import keys
from pluggd.objects.kv import MAX_KEY
from pluggd.testing.memory_kv import MemoryKV

LONG = "l" * 298
characters = st.sampled_from("a\0\xffÿ€\ud800\udcff𐀀\uffff")
tails = st.text(alphabet=characters, max_size=6)
names: st.SearchStrategy[str] = st.one_of(
    tails,
    st.sampled_from([LONG, LONG + "x", LONG + "xy", LONG + "é"]).flatmap(
        lambda front: st.builds(front.__add__, tails)
    ),
    st.integers(295, 305).map("q".__mul__),
)


def filled(all_names: list[str], front: bytes) -> MemoryKV:
    kv = MemoryKV()
    kv.open_table("t")
    for name in all_names:
        keys.put(kv, "t", front, name, name.encode("utf-8", "surrogatepass"))
    return kv


@given(st.lists(names, unique=True, max_size=12), names)
@example([LONG + "xy", LONG + "xyz", LONG + "xya", LONG + "x"], LONG + "xya")
def test_listings_are_sorted_and_go_on_after_any_name(
    all_names: list[str], after: str
) -> None:
    front = keys.prefix("ns")
    kv = filled(all_names, front)
    keys.put(kv, "t", keys.prefix("ns-2"), "x", b"")
    keys.put(kv, "t", keys.prefix("n"), "x" * 500, b"")
    listed = list(keys.scan(kv, "t", front))
    expected = sorted(all_names)
    assert [name for name, _ in listed] == expected
    assert all(
        record == name.encode("utf-8", "surrogatepass") for name, record in listed
    )
    if after:
        rest = [name for name, _ in keys.scan(kv, "t", front, after)]
        assert rest == [name for name in expected if name > after]


@given(st.lists(names, unique=True, min_size=1, max_size=8), st.data())
def test_each_name_has_its_own_record(
    all_names: list[str], data: st.DataObject
) -> None:
    front = keys.prefix("snapshot/native", "ns")
    kv = filled(all_names, front)
    gone = data.draw(st.sampled_from(all_names))
    assert keys.delete(kv, "t", front, gone)
    assert not keys.delete(kv, "t", front, gone)
    for name in all_names:
        record = None if name == gone else name.encode("utf-8", "surrogatepass")
        assert keys.get(kv, "t", front, name) == record


@given(names)
def test_no_key_is_too_long(name: str) -> None:
    front = keys.prefix("t" * 101, "n" * 76)
    assert len(keys.key(front, keys.encode_name(name))) <= MAX_KEY


@pytest.mark.parametrize("parts", [("a\0b",), ("a" * 101, "n" * 77)])
def test_a_prefix_that_cannot_be_a_key_is_refused(parts: tuple[str, ...]) -> None:
    with pytest.raises(InvalidArgument):
        keys.prefix(*parts)


def test_the_parts_after_a_prefix_are_listed_once_each() -> None:
    kv = MemoryKV()
    kv.open_table("t")
    types = ["content", "snapshot/a", "snapshot/a-b", "snapshot/b", "snapshots"]
    for type_ in types:
        for name in ("x", "y" * 400, "z"):
            keys.put(kv, "t", keys.prefix(type_, "ns"), name, b"")
    assert list(keys.first_parts(kv, "t")) == types
    found = list(keys.first_parts(kv, "t", b"snapshot/"))
    assert found == ["a", "a-b", "b"]
    assert list(keys.first_parts(kv, "t", b"snapshots")) == [""]
