# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What follows many outcomes follows once."""

from __future__ import annotations

from pluggd.deferred import Deferred, after_settling, settling


def test_what_follows_outcomes_comes_once_and_after_them_all() -> None:
    seen: list[str] = []

    def follow() -> None:
        seen.append("followed")

    def settled(deferred: Deferred[str]) -> None:
        seen.append(deferred.result())
        assert after_settling(follow)

    waiting: list[Deferred[str]] = [Deferred(), Deferred()]
    for deferred in waiting:
        deferred.then(settled)
    with settling(), settling():
        waiting[0].succeed("one")
        waiting[1].succeed("two")
        assert seen == ["one", "two"]
    assert seen == ["one", "two", "followed"]


def test_outside_of_it_nothing_is_kept() -> None:
    assert not after_settling(lambda: None)
