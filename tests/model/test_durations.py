# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Durations are read as Go writes them, and written back in one unit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluggd.errors import InvalidArgument
from pluggd.model.durations import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("0ms", 0.0),
        ("100ms", 0.1),
        ("1.5s", 1.5),
        (".5s", 0.5),
        ("1.s", 1.0),
        ("1h30m", 5400.0),
        ("1m0.5s", 60.5),
        ("250us", 0.00025),
        ("250µs", 0.00025),
        ("7ns", 7e-9),
        ("-5s", -5.0),
        ("+5s", 5.0),
    ],
)
def test_a_duration_is_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    ["", "-", "5", "s", "1 s", "1s ", "1d", "ms1", "1e3s", "1sx", "--1s", "٣s", "."],
)
def test_anything_else_is_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidArgument) as raised:
        parse_duration(text)
    assert f'duration "{text}" must be a number with a unit' in str(raised.value)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0s"),
        (0.1, "100ms"),
        (1.5, "1.5s"),
        (90.0, "1.5m"),
        (86400.0, "24h"),
        (-2.0, "-2s"),
        (7e-9, "7ns"),
    ],
)
def test_a_duration_is_written_in_one_unit(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@given(st.floats(min_value=1e-9, max_value=1e6))
def test_what_is_written_is_read_back(seconds: float) -> None:
    assert parse_duration(format_duration(seconds)) == pytest.approx(seconds, rel=1e-5)
