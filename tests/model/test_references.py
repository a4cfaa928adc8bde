# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The labels that the collector reads."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluggd.model.references import (
    EXPIRE,
    FLAT,
    MAX_TIME,
    ROOT,
    Reference,
    expiry,
    is_flat,
    is_root,
    references,
)

REF = "containerd.io/gc.ref."
BREF = "containerd.io/gc.bref."


@pytest.mark.parametrize(
    ("label", "type_", "back"),
    [
        (REF + "content", "content", False),
        (REF + "content.l.0", "content", False),
        (REF + "content/x", "content", False),
        (REF + "image", "image", False),
        (REF + "image.x", "image", False),
        (REF + "stream.x", "stream", False),
        (REF + "snapshot.native", "snapshot/native", False),
        (REF + "snapshot.native/x", "snapshot/native", False),
        (REF + "snapshot.a.b/c.d/e", "snapshot/a.b", False),
        (BREF + "content.x", "content", True),
        (BREF + "container", "container", True),
        (BREF + "image", "image", True),
        (BREF + "snapshot.native/x", "snapshot/native", True),
    ],
)
def test_a_label_states_one_edge(label: str, type_: str, back: bool) -> None:
    assert references({label: "key"}) == [Reference(type_, "key", back)]


@pytest.mark.parametrize(
    "label",
    [
        "other",
        REF,
        BREF,
        REF + ".x",
        REF + "snapshot",
        REF + "snapshot.",
        REF + "snapshot./x",
        "containerd.io/gc.ref",
    ],
)
def test_a_malformed_label_states_nothing(label: str) -> None:
    assert references({label: "key"}) == []


def test_a_word_that_begins_like_a_type_is_another_type() -> None:
    assert references({REF + "contentbad": "k"}) == [
        Reference("contentbad", "k", False)
    ]


def test_an_empty_value_states_nothing() -> None:
    assert references({REF + "content": ""}) == []


def test_edges_are_in_the_order_of_their_labels() -> None:
    labels = {REF + "content.b": "2", BREF + "image": "0", REF + "content.a": "1"}
    assert [found.key for found in references(labels)] == ["0", "1", "2"]


def test_any_label_that_begins_with_root_makes_a_root() -> None:
    assert is_root({ROOT: "x"})
    assert is_root({ROOT + ".y": "x"})
    assert not is_root({ROOT: "", "other": "x"})


def test_any_value_makes_a_lease_flat() -> None:
    assert is_flat({FLAT: "no"})
    assert not is_flat({FLAT: ""})
    assert not is_flat({})


@pytest.mark.parametrize(
    ("text", "when"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:01.5Z", 1_500_000_000),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1969-12-31T23:59:59Z", -1_000_000_000),
        ("2026-01-02T03:04:05.123456789Z", 1767323045123456000),
        ("2999-01-01T00:00:00Z", MAX_TIME),
        ("9999-12-31T23:59:59-23:59", MAX_TIME),
        ("0001-01-01T00:00:00+23:59", -62135683140000000000),
        ("2026-01-02T03:04:05", None),
        ("2026-01-02", None),
        ("tomorrow", None),
        ("", None),
    ],
)
def test_expiry_is_rfc_3339_and_never_when_it_cannot_be_read(
    text: str, when: int | None
) -> None:
    assert expiry({EXPIRE: text}) == when


@given(st.text())
def test_any_text_gives_a_time_or_never(text: str) -> None:
    found = expiry({EXPIRE: text})
    assert found is None or found <= MAX_TIME


def test_no_label_means_never() -> None:
    assert expiry({}) is None
