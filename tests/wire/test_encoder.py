# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What is written is what any msgpack library reads."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest

from pluggd.errors import NotFound, PluggdError, Unknown
from pluggd.wire import encoder
from pluggd.wire.errors import error_from_wire


def read(data: bytes) -> Any:
    return msgpack.unpackb(data, unicode_errors="surrogateescape")


def test_a_request_leaves_out_what_is_empty() -> None:
    assert read(encoder.encode_request(0, "m")) == [0, 0, "m", []]
    assert read(encoder.encode_request(1, "m", {"a": 1})) == [0, 1, "m", [{"a": 1}]]
    assert read(encoder.encode_request(2, "m", None, {"namespace": "n"})) == [
        0,
        2,
        "m",
        [None, {"namespace": "n"}],
    ]


def test_results_and_items_are_spliced() -> None:
    raw = encoder.encode_value({"a": [1, "x"]})
    for msgid in (0, 127, 128, 65536, 2**32 - 1):
        assert read(encoder.encode_result(msgid, raw)) == [
            1,
            msgid,
            None,
            {"a": [1, "x"]},
        ]
        assert read(encoder.encode_item(msgid, raw)) == [
            2,
            "$/item",
            [msgid, {"a": [1, "x"]}],
        ]
    assert read(encoder.encode_result(1)) == [1, 1, None, None]
    assert read(encoder.wrap("image", raw)) == {"image": {"a": [1, "x"]}}


def test_credit_and_descriptors_are_notifications() -> None:
    assert read(encoder.encode_credit(3, 8)) == [2, "$/credit", [3, 8]]
    assert read(encoder.encode_fds(3, 2)) == [2, "$/fds", [3, 2]]


@pytest.mark.parametrize("as_map", [False, True])
def test_an_error_survives_whole(as_map: bool) -> None:
    error = NotFound('image "a: b": not found')
    kind, msgid, value, result = read(encoder.encode_error(9, error, as_map=as_map))
    assert (kind, msgid, result) == (1, 9, None)
    back = error_from_wire(value)
    assert (type(back), str(back)) == (NotFound, str(error))


@pytest.mark.parametrize("as_map", [False, True])
def test_an_error_is_text_whatever_name_it_tells_of(as_map: bool) -> None:
    data = encoder.encode_error(9, NotFound("file a\udcff: not found"), as_map=as_map)
    back = error_from_wire(msgpack.unpackb(data)[2])  # refuses what is no UTF-8
    assert str(back) == r"file a\udcff: not found"


@pytest.mark.parametrize("value", [5, ["x"], {"code": 1}, "no code", b"plain"])
def test_foreign_errors_become_unknown(value: object) -> None:
    error: PluggdError = error_from_wire(value)
    assert type(error) is Unknown


def test_bytes_in_text_go_out_as_they_came() -> None:
    data = encoder.encode_request(1, "m", {"k": "a\udcff"})
    assert b"a\xff" in data
