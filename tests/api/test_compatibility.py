# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Interfaces only grow: what a plugin or a client was written against stays."""

from __future__ import annotations

import copy

import pytest

from pluggd.errors import InvalidArgument
from pluggd.model.api import judge
from tests.api.schema import breaks, current, released


def test_nothing_that_was_promised_is_gone_or_changed() -> None:
    found = breaks(released(), current())
    assert not found, "\n".join(found)


def test_what_was_added_is_promised_from_now_on() -> None:
    missing = sorted(set(current()["members"]) - set(released()["members"]))
    assert not missing, (
        f"{', '.join(missing)}: not in tests/api/schema.json. "
        "Run `make api` to promise it, and commit the file"
    )


def test_what_a_change_breaks_is_said() -> None:
    before, now = current(), copy.deepcopy(current())
    members = now["members"]
    del members["images.v1.get(name)"]
    members["record Image.labels"] = "list[str]"
    members["images.v1.delete(why)"] = "str, required"
    members["images.v1.shine(name)"] = "str, required"
    found = "\n".join(breaks(before, now))
    assert "removed: images.v1.get(name) (" in found
    assert "changed: record Image.labels was " in found
    assert "needs more: images.v1.delete(why)" in found
    assert "shine" not in found
    assert "new version of the kind" in found


def test_what_need_no_longer_be_given_breaks_nothing() -> None:
    before, now = current(), copy.deepcopy(current())
    before["members"]["images.v1.delete(name)"] = "str, required"
    now["members"]["images.v1.delete(name)"] = "str"
    assert breaks(before, now) == []


@pytest.mark.parametrize("asked", ["2.1", "1.4", "1.3"])
def test_what_is_not_deprecated_is_taken_without_a_word(asked: str) -> None:
    assert judge(asked, "2.1", "1.3") == ""


def test_a_deprecated_version_is_named_with_what_comes() -> None:
    warning = judge("1.2", "2.1", "1.3")
    assert "plugin API 1.2, which is deprecated: this pluggd has 2.1" in warning


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("2.2", "was written for plugin API 2.2, and this pluggd has 2.1: upgrade"),
        ("10.0", "plugin API 10.0, and this pluggd has 2.1"),
        ("0.9", "takes 1.0 and later: ask for a newer release"),
        ("1", 'must be the plugin API it was written for, as in api="2.1"'),
    ],
)
def test_what_cannot_work_is_refused_with_both_versions(
    asked: str, message: str
) -> None:
    with pytest.raises(InvalidArgument) as caught:
        judge(asked, "2.1", "2.0")
    assert message in str(caught.value)
