# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The table of a plugin's states."""

from __future__ import annotations

import pytest

from pluggd.core.status import TRANSITIONS, State, Status, chain, move
from pluggd.errors import Internal
from pluggd.services.introspection import Cause


def test_every_status_has_its_moves() -> None:
    assert set(TRANSITIONS) == set(Status)


@pytest.mark.parametrize("before", Status)
@pytest.mark.parametrize("after", Status)
def test_only_moves_of_the_table_are_possible(before: Status, after: Status) -> None:
    state = State(before)
    if after in TRANSITIONS[before]:
        assert move(state, after, now=1).status is after
    else:
        with pytest.raises(Internal, match=f"from {before.value} to {after.value}"):
            move(state, after, now=1)


def test_every_status_can_be_reached() -> None:
    assert set().union(*TRANSITIONS.values()) | {Status.FOUND} == set(Status)


def test_the_time_of_the_start_is_kept() -> None:
    state = move(State(), Status.STARTING, now=100)
    state = move(state, Status.OK, now=130)
    assert (state.took, state.since) == (30, 130)
    state = move(state, Status.STOPPING, now=900)
    assert state.took == 30


def test_a_move_brings_its_own_reason() -> None:
    state = move(
        State(reason="old"), Status.FAILED, now=1, reason="new", code="unknown"
    )
    assert (state.reason, state.code) == ("new", "unknown")


def test_a_chain_ends_with_the_reason_of_the_first_cause() -> None:
    causes = (
        Cause(uri="b", status="blocked", reason="because of c"),
        Cause(uri="c", status="failed", reason="disk on fire"),
    )
    assert chain(causes) == "b: blocked, because c: failed (disk on fire)"


def test_a_first_cause_without_a_reason_is_told_without() -> None:
    assert chain((Cause(uri="c", status="stopped"),)) == "c: stopped"
