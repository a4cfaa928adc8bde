# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Where values hold times, and timestamps in their place."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest
from msgpack import ExtType, Timestamp

from pluggd.core.arguments import Mismatch
from pluggd.core.times import Times
from pluggd.model.record import Encoded, Record, encode
from pluggd.model.types import Any as Free
from pluggd.model.types import Time

NS = 1_764_322_000_123_456_789
STAMP = Timestamp.from_unix_nano(NS)


class Node(Record, frozen=True):
    """May contain itself."""

    at: Time = 0
    size: int = 0
    free: Free | None = None
    inner: Node | None = None
    many: list[Node] = []
    by_name: dict[str, Node] = {}
    times: list[Time] = []
    perhaps: Time | str | None = None


class Timeless(Record, frozen=True):
    n: int = 0
    inner: Timeless | None = None


def times_of(type_: Any) -> Times:
    times = Times.of(type_)
    assert times is not None
    return times


@pytest.mark.parametrize(
    ("nanoseconds", "form"),
    [
        (0, "d6ff00000000"),
        ((2**32 - 1) * 10**9, "d6ffffffffff"),
        (2**32 * 10**9, "d7ff0000000100000000"),
        (1, "d7ff0000000400000000"),
        (2**63 - 1, "d7ffcbcb5ffe25c17d04"),
        (-1, "c70cff3b9ac9ffffffffffffffffff"),
        (-(2**63), "c70cff08a7f200fffffffdda3e82fb"),
    ],
)
def test_a_time_leaves_in_the_shortest_form_and_comes_back(
    nanoseconds: int, form: str
) -> None:
    times = times_of(Time)
    left = times.leave(encode(nanoseconds))
    assert left.hex() == form
    assert times.enter(msgpack.unpackb(left)) == nanoseconds


@pytest.mark.parametrize(
    "form",
    ["d6ff00000001", "d7ff0000000000000001", "c70cff000000000000000000000001"],
)
def test_every_form_is_read(form: str) -> None:
    assert times_of(Time).enter(msgpack.unpackb(bytes.fromhex(form))) == 10**9


def test_times_are_changed_wherever_they_are_and_nothing_else_is() -> None:
    inner = Node(at=NS, perhaps=NS)
    node = Node(
        at=NS,
        size=NS,
        free=Free(type_url="x", value={"at": NS, "b": b"\xff", "f": 0.5}),
        inner=inner,
        many=[Node(size=1), inner],
        by_name={"a": inner},
        times=[NS, 0],
        perhaps="never",
    )
    stamped = {"at": STAMP, "perhaps": STAMP}
    assert msgpack.unpackb(times_of(Node).leave(encode(node))) == {
        "at": STAMP,
        "size": NS,
        "free": {"type_url": "x", "value": {"at": NS, "b": b"\xff", "f": 0.5}},
        "inner": stamped,
        "many": [{"size": 1}, stamped],
        "by_name": {"a": stamped},
        "times": [STAMP, Timestamp(0)],
        "perhaps": "never",
    }


def test_the_order_of_fields_stays() -> None:
    left = times_of(Node).leave(encode(Node(at=1, size=2, free=Free())))
    assert list(msgpack.unpackb(left)) == ["at", "size", "free"]


def test_a_time_that_was_never_set_stays_absent() -> None:
    assert times_of(Node).leave(encode(Node())) == b"\x80"


@pytest.mark.parametrize(
    "type_", [int, Any, Timeless, list[Timeless], {"n": int, "t": Timeless}, {}]
)
def test_what_has_no_times_is_known_as_such(type_: Any) -> None:
    assert Times.of(type_) is None


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        (Encoded[Node], {"at": STAMP}),
        (dict[str, list[Node]], {"a": [{"at": STAMP}]}),
        ({"node": Node, "n": int}, {"node": {"inner": {"at": STAMP}}, "n": 1}),
    ],
)
def test_times_are_found_inside_of_any_container(type_: Any, value: Any) -> None:
    entered = times_of(type_).enter(value)
    assert str(NS) in str(entered)
    assert "Timestamp" not in str(entered)


@pytest.mark.parametrize(
    ("stamp", "reason"),
    [
        (
            Timestamp(2**40),
            "is out of range: times are nanoseconds in int64, from 1677",
        ),
        (Timestamp.from_unix_nano(2**63), "is out of range"),
        (Timestamp.from_unix_nano(-(2**63) - 1), "is out of range"),
        (
            ExtType(5, b"x"),
            "is an extension of type 5; a time is a timestamp (type -1)",
        ),
    ],
)
def test_what_is_no_time_is_named_by_its_path(stamp: object, reason: str) -> None:
    value = {"many": [{}, {"by_name": {"a": {"at": stamp}}}]}
    with pytest.raises(Mismatch) as caught:
        times_of(Node).enter(value)
    text = caught.value.describe("argument")
    assert text.startswith(f'argument "many.1.by_name.a.at" {reason}')


def test_a_value_of_another_shape_is_left_to_who_checks_types() -> None:
    value = {"many": {"a": 1}, "inner": [2], "by_name": "x", "times": 3, "at": "now"}
    assert times_of(Node).enter(dict(value)) == value
