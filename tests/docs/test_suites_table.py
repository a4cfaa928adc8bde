# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The table of suites in docs/writing-a-plugin.md says what is so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pluggd.cli.author.kinds import known_kinds
from pluggd.errors import InvalidArgument
from pluggd.proxy.discovery import check_proxied
from pluggd.testing.conformance import SUITES, Conformance
from tests.proxy import test_contracts_through_a_proxy as through_a_proxy

TEXT = (Path(__file__).parents[2] / "docs" / "writing-a-plugin.md").read_text()
ROW = re.compile(
    r"^\| `(pluggd\.\w+\.v1)` \| `(\w+)` \| (.+) \| (.+) \|$", re.MULTILINE
)
ROWS = {kind: (suite, far) for kind, suite, _, far in ROW.findall(TEXT)}


def test_every_suite_has_its_row() -> None:
    told = {kind: suite for kind, (suite, _) in ROWS.items()}
    assert told == {kind: where.suite for kind, where in SUITES.items()}


@pytest.mark.parametrize("kind", SUITES)
def test_what_is_said_to_run_through_a_proxy_does(kind: str) -> None:
    suite, far = ROWS[kind]
    run = {
        base.__name__
        for one in vars(through_a_proxy).values()
        if isinstance(one, type) and one.__module__ == through_a_proxy.__name__
        for base in one.__mro__
        if issubclass(base, Conformance)
    }
    if far.startswith("yes"):
        check_proxied(known_kinds()[kind].kind)
        assert suite in run
    else:
        assert far.startswith("no: ")
        with pytest.raises(InvalidArgument, match="cannot be proxied"):
            check_proxied(known_kinds()[kind].kind)
