# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Messages come out whole whatever the pieces, and nothing is built unchecked."""

from __future__ import annotations

import contextlib
import tracemalloc
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluggd.wire.decoder import Decoder
from pluggd.wire.encoder import (
    encode_notification,
    encode_request,
    encode_result,
    encode_value,
)
from pluggd.wire.errors import ProtocolError
from pluggd.wire.limits import TRUSTING, Limits
from pluggd.wire.messages import Notification, Request, Response

NOTHING: list[Any] = []
SMALL = Limits(message_size=1000, depth=8, elements=50)


def decode(data: bytes, limits: Limits = SMALL) -> list[Any]:
    return list(Decoder(limits).feed(data))


def refusal(data: bytes, limits: Limits = SMALL) -> ProtocolError:
    with pytest.raises(ProtocolError) as caught:
        Decoder(limits).feed(data)
    return caught.value


def refusal_in_pieces(decoder: Decoder, data: bytes, size: int) -> ProtocolError:
    def feed() -> None:
        for start in range(0, len(data), size):
            decoder.feed(data[start : start + size])

    with pytest.raises(ProtocolError, match="at most 1000 bytes") as caught:
        feed()
    return caught.value


def nested(levels: int) -> bytes:
    """A request whose deepest array is that many levels down, its own included."""
    inner: Any = None
    for _ in range(levels - 1):
        inner = [inner]
    return encode_value([0, 7, "m", inner])


def test_the_three_messages() -> None:
    data = (
        encode_request(1, "a.v1.b", {"x": 1}, {"namespace": "n"})
        + encode_result(2, encode_value({"y": b"z"}))
        + encode_notification("$/end", [1])
    )
    assert decode(data) == [
        Request(1, "a.v1.b", [{"x": 1}, {"namespace": "n"}]),
        Response(2, None, {"y": b"z"}),
        Notification("$/end", [1]),
    ]


@given(
    sizes=st.lists(st.integers(0, 300), max_size=8),
    cuts=st.lists(st.integers(1, 90), max_size=40),
)
def test_pieces_of_any_size_give_the_same_messages(
    sizes: list[int], cuts: list[int]
) -> None:
    data = b"".join(
        encode_request(n, "m", {"k": b"x" * s}) for n, s in enumerate(sizes)
    )
    decoder = Decoder(SMALL)
    got: list[Any] = []
    rest = data
    for cut in cuts:
        got += decoder.feed(rest[:cut])
        rest = rest[cut:]
    got += decoder.feed(rest)
    assert got == decode(data)
    assert len(got) == len(sizes)
    assert decoder.pending == 0


def test_one_byte_at_a_time() -> None:
    data = encode_request(300, "m", {"a": "b" * 100}) * 3
    decoder = Decoder(SMALL)
    got: list[Any] = []
    for position in range(len(data)):
        got += decoder.feed(data[position : position + 1])
    assert got == [Request(300, "m", [{"a": "b" * 100}])] * 3


def test_a_large_message_in_one_piece() -> None:
    blob = bytes(range(256)) * 8192
    [request] = decode(encode_request(1, "m", {"data": blob}), Limits())
    assert request.params == [{"data": blob}]


@pytest.mark.parametrize("pieces", [1, 7, 400])
def test_a_message_at_the_size_limit_passes_whole(pieces: int) -> None:
    room = 1000 - len(encode_request(1, "m", {"k": b"x" * 900})) + 900
    exact = encode_request(1, "m", {"k": b"x" * room})
    above = encode_request(1, "m", {"k": b"x" * (room + 1)})
    assert (len(exact), len(above)) == (1000, 1001)
    decoder = Decoder(SMALL)
    got: list[Any] = []
    for start in range(0, 2000, pieces):
        got += decoder.feed((exact * 2)[start : start + pieces])
    assert [m.params[0]["k"] for m in got] == [b"x" * room] * 2
    error = refusal_in_pieces(decoder, above, pieces)
    assert error.code == "resource_exhausted"
    assert error.msgid == 1


def test_a_message_that_never_ends_is_refused_at_the_limit() -> None:
    decoder = Decoder(SMALL)
    decoder.feed(b"\x94\x00\x05\xa1m\xc6\x7f\xff\xff\xff")
    assert refusal_in_pieces(decoder, bytes(10_000), 100).msgid == 5


def test_depth_at_the_limit_and_above() -> None:
    assert len(decode(nested(8))) == 1
    for levels in (9, 100, 1100):
        error = refusal(nested(levels) if levels < 500 else b"\x91" * levels)
        assert error.code == "resource_exhausted"
        assert "nest at most 8 levels" in str(error)
    assert refusal(nested(9)).msgid == 7


def test_elements_at_the_limit_and_above() -> None:
    # the message itself has 4, params 1, and the list what is left
    assert len(decode(encode_value([0, 1, "m", [list(range(45))]]))) == 1
    wide: list[Any] = [
        [list(range(46))],
        [[[]] * 46],
        [dict.fromkeys("abcdefghijklmnopqrstuvwx")],
    ]
    for values in wide:
        error = refusal(encode_value([0, 1, "m", values]))
        assert "at most 50 values" in str(error)
        assert error.msgid == 1


def test_nested_headers_cost_no_memory() -> None:
    tracemalloc.start()
    for data in (b"\xdc\xff\xff" * 1700, b"\xdd\x00\x01\x00\x00" * 1000):
        decoder = Decoder(Limits())
        with contextlib.suppress(ProtocolError):
            assert decoder.feed(data) == []
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000


@pytest.mark.parametrize(
    "data",
    [
        b"\xc1",
        b"\x00",
        b"\xc0",
        b"\x80",
        b"\x90",
        encode_value([0, 1, "m"]),
        encode_value([0, 1, "m", NOTHING, 5]),
        encode_value([3, 1, "m", NOTHING]),
        encode_value([False, 1, "m", NOTHING]),
        encode_value([0, True, "m", NOTHING]),
        encode_value([0, -1, "m", NOTHING]),
        encode_value([0, 2**32, "m", NOTHING]),
        encode_value([0, 1.0, "m", NOTHING]),
        encode_value([0, 1, 5, NOTHING]),
        encode_value([1, None, None, None]),
        encode_value([2, 5, NOTHING]),
        encode_value([2, "m"]),
        encode_value([0, 1, "m", [{"x": 2**63}]]),
        msgpack.packb([0, 1, "m", [{1: 2}]]),
        b"\x94\x00\x01\xa1m\x91\x81\x90\x01",
        b"\x94\x00\x01\xa1m\x91\xd5\xffaa",
    ],
)
def test_what_is_no_message_is_refused(data: bytes) -> None:
    assert refusal(data).code == "invalid_argument"


def test_int64_passes_to_its_edges() -> None:
    values = [2**63 - 1, -(2**63), 2**32]
    data = msgpack.packb([0, 1, "m", values]) + b"\x94\x00\x02\xa1m\xcf" + bytes(8)
    assert [m.params for m in decode(data)] == [values, 0]


def test_messages_before_a_fault_are_kept() -> None:
    decoder = Decoder(SMALL)
    with pytest.raises(ProtocolError) as caught:
        decoder.feed(encode_request(4, "m") + b"\xc1" + encode_request(5, "m"))
    assert caught.value.messages == [Request(4, "m", [])]
    with pytest.raises(ProtocolError) as caught:
        decoder.feed(encode_request(6, "m"))
    assert caught.value.messages == []


def test_text_that_is_no_utf8_survives_and_is_marked() -> None:
    data = b"\x94\x00\x01\xc4\x01m\x91\x81\xa1k\xa2a\xff" + encode_request(2, "m")
    first, second = decode(data)
    assert first.params == [{"k": "a\udcff"}]
    assert (first.method, first.escaped, second.escaped) == ("m", True, False)
    again = encode_request(3, "m", {"k": "a\udcff"})
    assert decode(again)[0].params == first.params


@given(st.binary(max_size=60))
def test_random_bytes_raise_nothing_else(data: bytes) -> None:
    decoder = Decoder(SMALL)
    with contextlib.suppress(ProtocolError):
        decoder.feed(data)
        decoder.feed(data)


@given(
    st.recursive(
        st.none() | st.integers(-(2**63), 2**63 - 1) | st.text() | st.binary(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_any_value_within_the_limits_passes(value: Any) -> None:
    [message] = decode(encode_value([0, 1, "m", [value]]), TRUSTING)
    assert message.params == [value]
    with contextlib.suppress(ProtocolError):
        [message] = decode(encode_value([0, 1, "m", [value]]))
        assert message.params == [value]


def test_a_connection_with_plain_calls_takes_little_memory() -> None:
    """A thousand clients that wait for each answer are common; msgpack's own reader
    takes 41 kB."""
    request = msgpack.packb([0, 1, "images.v1.get", [{"name": "a"}]])
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        decoders = [Decoder(Limits()) for _ in range(50)]
        for decoder in decoders:
            assert len(decoder.feed(request)) == 1
        used = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert used < 50 * 4096
