# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Figures: how they are made, checked and read."""

from __future__ import annotations

import pytest

from pluggd.errors import InvalidArgument
from pluggd.model.figures import (
    Figure,
    Histogram,
    Sample,
    by_label,
    counter,
    gauge,
    histogram,
    validate_figure,
)
from pluggd.model.quantiles import quantile


def test_a_histogram_counts_each_observation_in_the_bucket_that_includes_it() -> None:
    values = Histogram((1, 10))
    for value in (0, 1, 1.5, 10, 11):
        values.observe(value)
    (sample,) = histogram("sizes", "Sizes.", values).samples
    assert sample.counts == [2, 2, 1]
    assert sample.value == 23.5


def test_a_figure_by_label_is_in_order() -> None:
    figure = by_label("blobs", "gauge", "Blobs.", "state", {"b": 2, "a": 1})
    assert [(one.labels["state"], one.value) for one in figure.samples] == [
        ("a", 1),
        ("b", 2),
    ]


@pytest.mark.parametrize(
    "figure",
    [
        gauge("Upper", "", 1),
        gauge("a-b", "", 1),
        gauge("", "", 1),
        counter("reads_total", "", 1),
        Figure("a", samples=[Sample({"le": "1"})]),
        Figure("a", samples=[Sample({"plugin": "x"})]),
        Figure("a", samples=[Sample({"a b": "x"})]),
        Figure("a", samples=[Sample({}, 1, [1])]),
        Figure("a", "histogram", "", [Sample({}, 1, [1])], [1, 2]),
    ],
)
def test_a_figure_that_could_not_be_shown_is_refused(figure: Figure) -> None:
    with pytest.raises(InvalidArgument, match="figure"):
        validate_figure(figure)


def test_good_figures_pass() -> None:
    validate_figure(counter("reads", "Reads.", 1, disk="a b"))
    validate_figure(histogram("read_seconds", "Time.", Histogram()))


@pytest.mark.parametrize(
    ("counts", "share", "bound"),
    [
        ([0, 0, 0], 0.5, (False, 0)),
        ([1, 0, 0], 0.5, (False, 1)),
        ([5, 5, 0], 0.5, (False, 1)),
        ([5, 6, 0], 0.5, (False, 10)),
        ([98, 1, 1], 0.99, (False, 10)),
        ([0, 0, 3], 0.5, (True, 10)),
        ([9, 0, 1], 1, (True, 10)),
    ],
)
def test_a_quantile_is_the_bound_that_so_many_keep(
    counts: list[int], share: float, bound: tuple[bool, float]
) -> None:
    assert quantile((1, 10), counts, share) == bound
