# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Who comes at the same time."""

from __future__ import annotations

import trio

from pluggd.errors import (
    AlreadyExists,
    PluggdError,
)
from pluggd.services.snapshots import Snapshotter
from pluggd.testing.conformance.base import Conformance
from pluggd.testing.conformance.snapshots.kit import layer, names


class Concurrency(Conformance):
    """Who comes at the same time."""

    async def test_of_many_that_want_a_key_one_gets_it(
        self, snapshotter: Snapshotter
    ) -> None:
        await layer(snapshotter, "one", x="1")
        outcomes: list[str] = []

        async def want() -> None:
            try:
                await snapshotter.prepare(key="a", parent="one")
                outcomes.append("made")
            except AlreadyExists:
                outcomes.append("exists")

        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(want)
        assert sorted(outcomes) == ["exists"] * 7 + ["made"]
        await snapshotter.cleanup()
        assert await names(snapshotter) == ["a", "one"]

    async def test_a_parent_and_what_is_made_on_it_go_or_stay_together(
        self, snapshotter: Snapshotter
    ) -> None:
        for number in range(10):
            await layer(snapshotter, f"p{number}", x="1")
            outcomes: list[str] = []

            async def make(
                number: int = number, outcomes: list[str] = outcomes
            ) -> None:
                try:
                    await snapshotter.prepare(key=f"c{number}", parent=f"p{number}")
                    outcomes.append("made")
                except PluggdError:
                    outcomes.append("refused")

            async def remove(
                number: int = number, outcomes: list[str] = outcomes
            ) -> None:
                try:
                    await snapshotter.remove(key=f"p{number}")
                    outcomes.append("removed")
                except PluggdError:
                    outcomes.append("kept")

            async with trio.open_nursery() as nursery:
                nursery.start_soon(make)
                nursery.start_soon(remove)
            assert sorted(outcomes) in (["kept", "made"], ["refused", "removed"])
            there = await names(snapshotter)
            assert (f"c{number}" in there) == (f"p{number}" in there)

    async def test_a_commit_happens_once(self, snapshotter: Snapshotter) -> None:
        await snapshotter.prepare(key="a")
        outcomes: list[str] = []

        async def commit(name: str) -> None:
            try:
                await snapshotter.commit(name=name, key="a")
                outcomes.append(name)
            except PluggdError:
                pass

        async with trio.open_nursery() as nursery:
            for number in range(6):
                nursery.start_soon(commit, f"c{number}")
        assert len(outcomes) == 1
        assert await names(snapshotter) == outcomes
