# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Errors keep their class and their text, however often they cross the wire."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluggd import errors
from pluggd.errors import (
    CLASSES,
    Internal,
    NotFound,
    PluggdError,
    Unknown,
    from_code,
    from_text,
    to_text,
)
from pluggd.wire.decoder import Decoder
from pluggd.wire.encoder import encode_error
from pluggd.wire.errors import error_from_wire
from pluggd.wire.limits import Limits
from pluggd.wire.messages import Response

every_class = pytest.mark.parametrize("cls", CLASSES.values(), ids=list(CLASSES))
messages = st.text() | st.sampled_from(
    ['image "x": not found', "not_found: x", "", ": ", "a: b: c", "internal"]
)


def same(one: PluggdError, other: PluggdError) -> bool:
    return type(one) is type(other) and str(one) == str(other)


def over_the_wire(error: PluggdError, *, as_map: bool) -> PluggdError:
    [response] = Decoder(Limits()).feed(encode_error(1, error, as_map=as_map))
    assert isinstance(response, Response)
    return error_from_wire(response.error)


def test_the_set_is_whole() -> None:
    defined = {
        value
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, PluggdError)
    }
    assert set(CLASSES.values()) == defined - {PluggdError}
    assert all(cls.code == code for code, cls in CLASSES.items())


@every_class
def test_a_code_is_the_name_of_its_class(cls: type[PluggdError]) -> None:
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", cls.__name__.rstrip("_"))
    assert cls.code == words.lower()


@every_class
@given(message=messages)
def test_a_class_and_its_message_survive_as_text(
    cls: type[PluggdError], message: str
) -> None:
    assert same(from_text(to_text(cls(message))), cls(message))
    assert same(from_code(cls.code, message), cls(message))


@every_class
@pytest.mark.parametrize("as_map", [False, True])
def test_a_class_and_its_message_survive_the_wire(
    cls: type[PluggdError], as_map: bool
) -> None:
    error = cls(f'image "x\u00ff": {cls.code}')
    once = over_the_wire(error, as_map=as_map)
    assert same(once, error)
    assert same(over_the_wire(once, as_map=as_map), error)


@every_class
def test_a_text_that_comes_back_is_not_given_another_prefix(
    cls: type[PluggdError],
) -> None:
    text = to_text(cls("the store is closed"))
    for _ in range(3):
        text = to_text(from_text(text))
    assert text == f"{cls.code}: the store is closed"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "something went wrong",
        "not found",
        "not_found",
        "not_found:x",
        "NotFound: x",
        "NOT_FOUND: x",
        "ENOENT: no such file",
        "rpc error: code = NotFound desc = x",
        " not_found: x",
    ],
)
def test_text_of_no_known_form_is_unknown_and_unchanged(text: str) -> None:
    assert same(from_text(text), Unknown(text))


def test_a_class_of_a_newer_peer_is_unknown_with_its_message() -> None:
    assert same(from_code("too_early", "wait"), Unknown("wait"))


def test_an_error_is_its_message() -> None:
    error = NotFound('image "x": not found')
    assert (str(error), error.message) == ('image "x": not found',) * 2
    assert error.args == ('image "x": not found',)


@pytest.mark.parametrize(
    "value", [None, 5, {}, {"code": 1, "message": "x"}, {"code": "internal"}, [1, "x"]]
)
def test_an_error_of_no_known_form_is_unknown_and_shown(value: object) -> None:
    error = error_from_wire(value)
    assert isinstance(error, Unknown)
    assert repr(value) in str(error)


def test_a_peer_may_send_its_text_as_bytes() -> None:
    assert same(error_from_wire(b"internal: no \xff"), Internal("no \udcff"))
