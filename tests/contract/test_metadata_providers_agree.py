# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The fake and the real metadata store do the same with whatever comes."""

from __future__ import annotations

from functools import partial

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from pluggd.services.metadata import Transaction, View
from tests.contract.fixtures import PROVIDERS, Provider

TABLE = "contract.things"

keys = st.text(
    st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20
).map(lambda text: text * (1 + len(text) * 7))
steps = st.lists(
    st.tuples(st.sampled_from(["put", "delete"]), keys, st.binary(max_size=30)),
    max_size=30,
)


def first_after(name: str, view: View) -> tuple[str, bytes] | None:
    return next(view.scan(TABLE, "ns", after=name), None)


@given(steps)
def test_the_fake_and_the_real_one_hold_the_same(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, str, bytes]]
) -> None:
    async def outcome(provider: Provider) -> list[object]:
        async with provider(tmp_path_factory.mktemp("store")) as metadata:
            await metadata.open_table(TABLE)
            results: list[object] = []

            def change(txn: Transaction) -> None:
                for what, name, record in steps:
                    if what == "put":
                        txn.put(TABLE, "ns", name, record)
                    else:
                        results.append(txn.delete(TABLE, "ns", name))

            await metadata.update(change)
            results.append(metadata.read(lambda view: list(view.scan(TABLE, "ns"))))
            for _, name, _ in steps:
                results.append(metadata.read(partial(first_after, name)))
            return results

    first, *others = [trio.run(outcome, provider) for provider in PROVIDERS]
    assert all(other == first for other in others)
