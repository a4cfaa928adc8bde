# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Our own kinds can be served: a daemon does not look at their declarations before the
first call, so this is where a mistake in one is found."""

from __future__ import annotations

import pytest

from pluggd.cli.author.kinds import known_kinds
from pluggd.core.arguments import arguments_of
from pluggd.services.kind import Kind
from pluggd.services.schema import served_names, service_schema

KINDS = [known.kind for known in known_kinds().values()]


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_its_declaration_can_be_served(kind: Kind[object]) -> None:
    assert list(arguments_of(kind)) == served_names(kind)
    described = service_schema(kind).describe()
    assert len(described["methods"]) == len(served_names(kind))


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_each_method_begins_with_what_it_is_for(kind: Kind[object]) -> None:
    # `pluggctl methods` shows this line of each.
    for method in service_schema(kind).describe()["methods"]:
        first = method["doc"].partition("\n")[0]
        assert first, method["name"]
        assert not first.startswith(("Raises ", "Filters:", "Fields:")), method["name"]
