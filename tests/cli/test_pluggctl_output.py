# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What people and machines get to read, and what users may type."""

from __future__ import annotations

import click
import pytest

from pluggd.cli.ctl import output
from pluggd.cli.ctl.args import DURATION, pairs

SECOND = output.SECOND


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (5 << 20, "5.0 MiB"),
        (3 << 40, "3.0 TiB"),
        (1 << 60, "1024.0 PiB"),
    ],
)
def test_sizes_are_in_binary_units(count: int, text: str) -> None:
    assert output.size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "Less than a second"),
        (1, "1 second"),
        (59, "59 seconds"),
        (60, "About a minute"),
        (3599, "59 minutes"),
        (3600, "About an hour"),
        (7200, "2 hours"),
        (3 * 86400, "3 days"),
        (21 * 86400, "3 weeks"),
        (90 * 86400, "3 months"),
        (800 * 86400, "2 years"),
    ],
)
def test_ages_are_in_the_words_of_ctr(seconds: int, text: str) -> None:
    assert output.age(SECOND, SECOND + seconds * SECOND) == text


def test_no_time_is_a_dash() -> None:
    assert output.age(0) == output.when(0) == "-"


def test_a_table_aligns_and_shows_what_is_empty(
    capsys: pytest.CaptureFixture[str],
) -> None:
    output.table(("A", "LONGER"), [("xyz", ""), ("", 1)])
    assert capsys.readouterr().out == "A    LONGER\nxyz  -\n-    1\n"


def test_a_name_cannot_move_the_cursor() -> None:
    assert output.clean("a\x1b[2Jb\nc") == "a\\x1b[2Jb\\nc"


def test_json_carries_bytes_both_ways() -> None:
    value = {"a": [b"\x00\xff", 1, None], "b": {"c": "text"}}
    plain = output.to_json(value)
    assert plain == {"a": [{"$bytes": "AP8="}, 1, None], "b": {"c": "text"}}
    assert output.from_json(plain) == value


def test_exact_times_sort_as_text() -> None:
    assert output.exactly_when(1) == "1970-01-01T00:00:00.000000001Z"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("15m", 900), ("1h30m", 5400), ("7d", 604800), ("0", 0)],
)
def test_durations_have_units(text: str, seconds: float) -> None:
    assert DURATION.convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["", "soon", "5x", "-1", "1 h"])
def test_a_bad_duration_shows_the_form(text: str) -> None:
    with pytest.raises(click.BadParameter, match="no duration such as"):
        DURATION.convert(text, None, None)


def test_labels_may_hold_equals_signs_and_be_emptied() -> None:
    assert pairs(["a=b=c", "d="]) == {"a": "b=c", "d": ""}
    with pytest.raises(click.UsageError, match="KEY=VALUE"):
        pairs(["novalue"])
