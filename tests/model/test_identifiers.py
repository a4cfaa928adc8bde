# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The tables of good and bad names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluggd.errors import InvalidArgument
from pluggd.model.identifiers import PATTERN, validate_identifier, validate_namespace


@pytest.mark.parametrize(
    "name",
    [
        "default",
        "containerd.io",
        "0912341234",
        "task.0.0123456789",
        "underscores_are_allowed",
        "container.system-75-f19a.00",
        "Default",
        "a",
        "a" * 76,
    ],
)
def test_good_names(name: str) -> None:
    validate_identifier(name)
    validate_namespace(name)


@pytest.mark.parametrize(
    "name",
    [
        ".foo",
        "foo-",
        "_foo",
        "foo/foo",
        "foo..foo",
        "foo.-boo",
        "a--b",
        "a__b",
        "zn--e9.org",
        "ctr ",
        "a\n",
        "é",
        "a\udc80",
        "bad ns!",
    ],
)
def test_bad_names_are_told_the_rule(name: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        validate_identifier(name)
    expected = f'identifier "{name}" must match {PATTERN}: invalid argument'
    assert str(caught.value) == expected
    with pytest.raises(InvalidArgument) as caught:
        validate_namespace(name)
    assert str(caught.value) == f"namespace validation: {expected}"


def test_an_empty_name_is_refused() -> None:
    with pytest.raises(InvalidArgument) as caught:
        validate_identifier("")
    assert str(caught.value) == "identifier must not be empty: invalid argument"


@pytest.mark.parametrize("name", ["a" * 77, "é" * 39])
def test_the_length_is_counted_in_bytes(name: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        validate_identifier(name)
    assert str(caught.value) == (
        f'identifier "{name}" greater than maximum length (76 characters): '
        "invalid argument"
    )


@given(st.from_regex(PATTERN, fullmatch=True))
def test_what_matches_and_is_short_is_good(name: str) -> None:
    if len(name) <= 76 and not name.endswith("\n"):
        validate_identifier(name)
