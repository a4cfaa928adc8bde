# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Records have one form in bytes, and foreign data is told where it is wrong."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluggd.errors import DataLoss, InvalidArgument
from pluggd.model.record import (
    Encoded,
    Record,
    convert,
    decode,
    decode_json,
    encode,
    encode_json,
    is_record,
    record_fields,
    replace,
    to_plain,
)


class Part(Record, frozen=True):
    name: str
    data: bytes = b""


class Whole(Record, frozen=True):
    parts: list[Part] = []
    labels: dict[str, str] = {}
    size: int = 0


class Wider(Record, frozen=True):
    size: int = 0
    later: str = ""


WHOLE = Whole(parts=[Part(name="a", data=b"\x00\xff")], labels={"k": "v"}, size=-1)

part = st.builds(Part, name=st.text(), data=st.binary())
whole = st.builds(
    Whole,
    parts=st.lists(part, max_size=3),
    labels=st.dictionaries(st.text(), st.text(), max_size=5),
    size=st.integers(-(2**63), 2**63 - 1),
)


@given(whole)
def test_what_is_encoded_is_read_back(value: Whole) -> None:
    assert decode(encode(value), Whole) == value
    assert decode(memoryview(encode(value)), Whole) == value


@given(st.dictionaries(st.text(), st.text(), max_size=6), st.randoms())
def test_equal_values_have_equal_bytes(labels: dict[str, str], random: Any) -> None:
    pairs = list(labels.items())
    random.shuffle(pairs)
    assert encode(Whole(labels=dict(pairs))) == encode(Whole(labels=labels))
    assert encode_json(dict(pairs)) == encode_json(labels)


def test_a_field_with_its_default_is_left_out() -> None:
    assert msgpack.unpackb(encode(Whole(size=3))) == {"size": 3}
    assert encode_json(Whole()) == b"{}"


def test_a_record_cannot_be_changed() -> None:
    value: Any = Part(name="a")
    with pytest.raises(AttributeError):
        value.name = "b"


def test_defaults_are_not_shared_between_records() -> None:
    one, other = Whole(), Whole()
    assert one.labels is not other.labels


def test_an_older_reader_leaves_out_what_it_does_not_know() -> None:
    assert decode(encode(Wider(size=2, later="x")), Whole) == Whole(size=2)
    assert convert({"size": 2, "later": "x"}, Whole) == Whole(size=2)
    assert decode_json(b'{"size": 2, "later": "x"}', Whole, "it") == Whole(size=2)


@pytest.mark.parametrize(
    "data", [b"", b"\xc1", b"\x81\xa4size", encode([1]), b"\x80\x80"]
)
def test_stored_bytes_that_cannot_be_read_are_a_loss(data: bytes) -> None:
    with pytest.raises(DataLoss, match="stored Whole cannot be read: "):
        decode(data, Whole)


def test_stored_text_that_is_no_utf_8_is_a_loss() -> None:
    with pytest.raises(DataLoss, match="stored Part cannot be read: "):
        decode(b"\x81\xa4name\xa1\xff", Part)


def test_plain_data_becomes_a_record() -> None:
    plain = {"parts": [{"name": "a", "data": b"\x00\xff"}], "labels": {"k": "v"}}
    assert convert({**plain, "size": -1}, Whole) == WHOLE


WRONG: list[tuple[object, str]] = [
    (
        {"parts": [{"name": 5}]},
        r"Expected `str`, got `int` - at `\$.parts\[0\].name`",
    ),
    ({"parts": [{}]}, r"missing required field `name` - at `\$.parts\[0\]`"),
    ({"size": "1"}, r"at `\$.size`"),
    ({"labels": {"a": None}}, r"at `\$.labels\[...\]`"),
    ([], "Expected `object`, got `array`"),
]


@pytest.mark.parametrize(("data", "path"), WRONG)
def test_a_wrong_value_is_told_with_its_path(data: object, path: str) -> None:
    with pytest.raises(InvalidArgument, match=path):
        convert(data, Whole)


def test_what_is_not_strict_reads_numbers_in_text() -> None:
    assert convert({"size": "12"}, Whole, strict=False) == Whole(size=12)


def test_json_of_others_is_read() -> None:
    data = (
        b'{"parts": [{"name": "a", "data": "AP8="}], "labels": {"k": "v"}, "size": -1}'
    )
    assert decode_json(data, Whole, "it") == WHOLE


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b'{"size": "1"}', b'{"labels": {"\xff": "x"}}', b'{"x":' * 20_000],
)
def test_json_that_cannot_be_read_is_told_with_its_name(data: bytes) -> None:
    with pytest.raises(InvalidArgument, match=r"^index x: "):
        decode_json(data, Whole, "index x")


def test_encoded_bytes_are_decoded_when_somebody_looks() -> None:
    held = Encoded(encode(WHOLE), Whole)
    assert held.value == WHOLE
    assert repr(held) == f"Encoded(Whole, {len(held.data)} bytes)"
    broken = Encoded(b"\xc1", Whole)
    with pytest.raises(DataLoss):
        _ = broken.value


def test_replacing_makes_a_copy() -> None:
    other = replace(WHOLE, size=4)
    assert (other.size, other.labels) == (4, WHOLE.labels)
    assert WHOLE.size == -1


@given(whole)
def test_plain_data_and_records_are_each_others_inverse(value: Whole) -> None:
    assert convert(to_plain(value), Whole) == value


def test_plain_data_keeps_bytes() -> None:
    assert to_plain(Part(name="a", data=b"\xff")) == {"name": "a", "data": b"\xff"}


def test_what_is_a_record() -> None:
    for other in (Part(name="a"), dict[str, str], int):
        assert not is_record(other)
    assert is_record(Part)


def test_the_fields_of_a_record_in_order() -> None:
    fields = record_fields(Part) + record_fields(Whole)
    assert [(one.name, one.required, one.default) for one in fields] == [
        ("name", True, None),
        ("data", False, b""),
        ("parts", False, []),
        ("labels", False, {}),
        ("size", False, 0),
    ]
    assert fields[2].type == list[Part]
