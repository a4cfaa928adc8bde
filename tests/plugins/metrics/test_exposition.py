# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The text form, as the parser of Prometheus' own client reads it."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pluggd.model.figures import Figure, Histogram, Sample, counter, gauge, histogram
from pluggd.services.metrics import METRICS
from pluggd.testing import running_daemon
from plugins.metrics.exposition import exposition, number

Read = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def read(text: str) -> Read:
    """All samples. Raises ValueError for what is not the format."""
    found: Read = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in found, f"twice: {key}"
            found[key] = sample.value
    return found


def test_a_counter_has_its_suffix_and_a_gauge_has_none() -> None:
    text = exposition([counter("reads", "Reads.", 3), gauge("now", "Now.", 0.5)])
    assert text == (
        "# HELP pluggd_reads_total Reads.\n"
        "# TYPE pluggd_reads_total counter\n"
        "pluggd_reads_total 3\n"
        "# HELP pluggd_now Now.\n"
        "# TYPE pluggd_now gauge\n"
        "pluggd_now 0.5\n"
    )


def test_buckets_are_cumulative_and_end_with_all() -> None:
    values = Histogram((0.1, 1))
    for value in (0.05, 0.1, 0.5, 7):
        values.observe(value)
    found = read(exposition([histogram("a_seconds", "A.", values, of="x")]))
    of = ("of", "x")
    assert found == {
        ("pluggd_a_seconds_bucket", (("le", "0.1"), of)): 2,
        ("pluggd_a_seconds_bucket", (("le", "1"), of)): 3,
        ("pluggd_a_seconds_bucket", (("le", "+Inf"), of)): 4,
        ("pluggd_a_seconds_sum", (of,)): 7.65,
        ("pluggd_a_seconds_count", (of,)): 4,
    }


@pytest.mark.parametrize(
    "value", ["", "plain", 'a "b"', "back\\slash", "two\nlines", "\\n", "ä ✓", "a,b={}"]
)
def test_a_label_comes_back_as_it_was(value: str) -> None:
    found = read(exposition([gauge("a", "A.", 1, of=value)]))
    assert found == {("pluggd_a", (("of", value),)): 1}


def test_help_is_on_one_line() -> None:
    (family,) = text_string_to_metric_families(
        exposition([gauge("a", 'One\ntwo \\ "three"', 1)])
    )
    assert family.documentation == 'One\ntwo \\ "three"'


def test_figures_of_the_process_have_their_usual_names() -> None:
    text = exposition([counter("process_cpu_seconds", "", 1)])
    assert "\nprocess_cpu_seconds_total 1\n" in text


def test_a_figure_without_samples_is_left_out() -> None:
    assert exposition([Figure("a")]) == ""


@pytest.mark.parametrize(
    "value", [0, 1, -1, 0.1, 1e-9, 1e300, 2**53 + 2, 1.5e16, math.inf, -math.inf]
)
def test_a_number_is_read_back(value: float) -> None:
    found = read(exposition([Figure("a", samples=[Sample({}, value)])]))
    assert list(found.values()) == [value]
    assert number(math.nan) == "NaN"


async def test_all_that_a_daemon_tells_is_well_formed(tmp_path: Path) -> None:
    async with running_daemon(tmp_path) as daemon, daemon.client() as client:
        await client.namespaces.list()
        await client.gc.run(wait=True)
        text = await client.get(METRICS).text()
        some = await client.get(METRICS).text(names=["gc_"])
    found = read(text)
    assert found["pluggd_gc_runs_total", (_GC, ("result", "ok"))] >= 1
    method = ("method", "namespaces.v1.list")
    plugin = ("plugin", "pluggd.namespaces.v1.store")
    assert found["pluggd_call_seconds_count", (method, plugin)] == 1
    assert ("process_resident_memory_bytes", ()) in found
    for family in text_string_to_metric_families(text):
        assert family.documentation, family.name
        if family.type == "histogram":
            _check_histogram([(one.name, one.labels) for one in family.samples])
    assert {key[0].split("_")[1] for key in read(some)} == {"gc"}


_GC = ("plugin", "pluggd.gc.v1.scheduler")


def _check_histogram(samples: list[tuple[str, dict[str, str]]]) -> None:
    ends = [labels["le"] for name, labels in samples if name.endswith("_bucket")]
    assert ends.count("+Inf") == sum(name.endswith("_count") for name, _ in samples)
