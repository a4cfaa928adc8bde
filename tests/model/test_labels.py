# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The size of labels, and what an empty value means."""

from __future__ import annotations

import pytest

from pluggd.errors import InvalidArgument
from pluggd.model.labels import validate_labels, without_empty


@pytest.mark.parametrize(
    "labels",
    [
        {},
        {"k": ""},
        {"k": "v" * 4095},
        {"é" * 2000: "v" * 96},
        {"any / key\n": "any\0value", "k": "v"},
    ],
)
def test_labels_up_to_4096_bytes_pass(labels: dict[str, str]) -> None:
    validate_labels(labels)


@pytest.mark.parametrize(
    ("labels", "size", "shown"),
    [
        ({"k": "v" * 4096}, 4097, "k"),
        ({"ok": "ok", "k" * 4000: "v" * 97}, 4097, "k" * 64),
        ({"é" * 2000: "v" * 97}, 4097, "é" * 64),
        ({"k": "\udc80" * 4096}, 4097, "k"),
    ],
)
def test_one_byte_more_is_refused_with_the_key(
    labels: dict[str, str], size: int, shown: str
) -> None:
    with pytest.raises(InvalidArgument) as caught:
        validate_labels(labels, "image.Labels")
    assert str(caught.value) == (
        f"image.Labels: label key and value length ({size} bytes) greater than maximum "
        f"size (4096 bytes), key: {shown}: invalid argument"
    )


@pytest.mark.parametrize("value", ["", "x"])
def test_an_empty_key_is_refused(value: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        validate_labels({"": value})
    assert str(caught.value) == "labels: label key must not be empty: invalid argument"


def test_an_empty_value_means_absent() -> None:
    given = {"a": "", "b": "1"}
    assert without_empty(given) == {"b": "1"}
    assert given == {"a": "", "b": "1"}
