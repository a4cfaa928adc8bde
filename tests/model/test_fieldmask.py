# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What the `fields` of an update do to maps."""

from __future__ import annotations

import pytest

from pluggd.errors import InvalidArgument
from pluggd.model.fieldmask import check_fields, masked_map

STORED = {"a": "1", "b": "2"}


@pytest.mark.parametrize(
    ("requested", "fields", "result"),
    [
        ({"c": "3"}, ["labels"], {"c": "3"}),
        ({"c": "3"}, ["labels.c"], {"a": "1", "b": "2", "c": "3"}),
        ({"a": "9", "c": "3"}, ["labels.a"], {"a": "9", "b": "2"}),
        ({}, ["labels.a"], {"b": "2"}),
        ({"a": ""}, ["labels.a"], {"b": "2"}),
        ({"c": ""}, ["labels"], {}),
        ({}, ["labels.nosuch"], STORED),
        ({"x.y/z": "3"}, ["labels.x.y/z"], {**STORED, "x.y/z": "3"}),
        ({"c": "3"}, ["target", "labelsx", "labelsx.c"], STORED),
        ({"c": "3"}, [], STORED),
        ({"a": "9"}, ["labels.a", "labels.b"], {"a": "9"}),
    ],
)
def test_a_map_takes_what_is_named(
    requested: dict[str, str], fields: list[str], result: dict[str, str]
) -> None:
    before = dict(STORED)
    assert masked_map(STORED, requested, fields, "labels") == result
    assert before == STORED


def test_values_of_any_type_have_their_own_emptiness() -> None:
    found = masked_map({"a": 1}, {"b": 0}, ["m.b"], "m", empty=lambda value: value < 0)
    assert found == {"a": 1, "b": 0}


@pytest.mark.parametrize(
    "field", ["bogus", "", "labels.", "label", "labelsx", "target.digest", "LABELS"]
)
def test_an_unknown_field_is_named(field: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        check_fields(
            ["labels", field], plain=["target"], maps=["labels"], what='image "y"'
        )
    expected = f'cannot update "{field}" field on image "y": invalid argument'
    assert str(caught.value) == expected


def test_known_fields_pass() -> None:
    check_fields(
        ["labels", "labels.x", "labels..", "target"],
        plain=["target"],
        maps=["labels"],
        what="",
    )
