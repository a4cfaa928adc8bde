# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Which entry of an index a pull takes."""

from __future__ import annotations

import pytest

from pluggd.errors import NotFound
from pluggd.model import platforms
from pluggd.model.oci import OCI_MANIFEST, Child
from pluggd.model.types import Descriptor, Platform
from plugins.transfer.choosing import Platforms


@pytest.fixture(autouse=True)
def _a_machine_of_level_3(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = ("Linux", "x86_64", "v3")
    monkeypatch.setattr(platforms, "describe_machine", lambda: machine)


def entries(*texts: str) -> list[Child]:
    """Named by their platforms; `-` states none."""
    found: list[Child] = []
    for text in texts:
        architecture, _, variant = text.partition("/")
        stated = Platform(os="linux", architecture=architecture, variant=variant)
        descriptor = Descriptor(media_type=OCI_MANIFEST, digest=text, size=1)
        found.append(Child(descriptor, None if text == "-" else stated))
    return found


def chosen(*texts: str, asked: str = "") -> list[str]:
    wanted = Platforms("x", [asked] if asked else [])
    return [descriptor.digest for descriptor, _ in wanted.choose(entries(*texts))]


@pytest.mark.parametrize(
    ("texts", "best"),
    [
        ("386 amd64 amd64/v2 amd64/v3 amd64/v4", "amd64/v3"),
        ("amd64/v4 amd64/v2 amd64", "amd64/v2"),
        ("amd64/v4 386 amd64/v1", "amd64/v1"),
        ("arm64 386", "386"),
        ("- amd64", "amd64"),
        ("arm64 -", "-"),
    ],
)
def test_the_best_that_runs_here(texts: str, best: str) -> None:
    assert chosen(*texts.split()) == [best]


def test_a_platform_that_was_asked_for_is_no_higher_one() -> None:
    assert chosen("amd64/v3", "amd64", asked="linux/amd64") == ["amd64"]


def test_what_cannot_run_here_is_not_chosen() -> None:
    with pytest.raises(NotFound, match="it has linux/amd64/v4, linux/arm64"):
        chosen("arm64", "amd64/v4")


@pytest.mark.parametrize(
    ("texts", "unsettled"),
    [("amd64/v3 -", False), ("amd64 -", True), ("- -", True), ("amd64 arm64", False)],
)
def test_configurations_are_read_only_where_they_can_make_a_difference(
    texts: str, unsettled: bool
) -> None:
    assert Platforms("x", []).unsettled(entries(*texts.split())) is unsettled
