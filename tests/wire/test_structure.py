# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Whose message it was, read from its first bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluggd.wire.encoder import (
    encode_notification,
    encode_request,
    encode_result,
    encode_value,
)
from pluggd.wire.messages import MAX_MSGID
from pluggd.wire.structure import peek_msgid


@given(st.integers(0, MAX_MSGID))
def test_the_msgid_of_a_request_is_in_its_head(msgid: int) -> None:
    request = encode_request(msgid, "images.v1.get", {"name": "x"})
    assert peek_msgid(request) == peek_msgid(request[:16]) == msgid


@given(st.integers(0, MAX_MSGID))
def test_a_head_that_is_cut_off_has_none(msgid: int) -> None:
    request = encode_request(msgid, "m")
    end = 2 + len(encode_value(msgid))
    assert [peek_msgid(request[:size]) for size in range(end)] == [None] * end
    assert peek_msgid(request[:end]) == msgid


def test_the_widest_form_of_a_small_number_is_read() -> None:
    assert peek_msgid(b"\x94\x00\xcf" + (7).to_bytes(8, "big")) == 7


@pytest.mark.parametrize(
    "head",
    [
        encode_result(3),
        encode_notification("$/end", [3]),
        encode_value([0, -1, "m", None]),
        encode_value([0, MAX_MSGID + 1, "m", None]),
        encode_value([0, "3", "m", None]),
        encode_value({0: 3}),
    ],
)
def test_what_is_no_request_has_none(head: bytes) -> None:
    assert peek_msgid(head) is None
