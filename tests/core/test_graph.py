# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The order of start, and what stands in its way."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluggd.core.graph import Node, choose, plan
from pluggd.errors import FailedPrecondition


def node(uri: str, *requires: str, wants: tuple[str, ...] = ()) -> Node:
    """A plugin whose URI is its kind with `.x` behind it."""
    return Node(f"{uri}.x", uri, requires, wants)


def test_a_plugin_comes_after_what_it_requires_and_wants() -> None:
    nodes = [node("a", "b", wants=("c",)), node("b", "d"), node("c"), node("d")]
    assert plan(nodes).order == ("c.x", "d.x", "b.x", "a.x")


def test_ties_are_broken_by_uri() -> None:
    assert plan([node("c"), node("a"), node("b")]).order == ("a.x", "b.x", "c.x")


def test_a_plugin_comes_after_all_providers_of_a_kind() -> None:
    nodes = [Node("k.1", "k"), Node("k.2", "k"), node("a", "k")]
    assert plan(nodes).order == ("k.1", "k.2", "a.x")


def test_any_order_of_input_gives_the_same_plan() -> None:
    nodes = [
        node("a", "b"),
        node("b", "c"),
        node("c", "b"),
        node("d", "a", "nobody"),
        node("e", wants=("d",)),
    ]
    plans = {repr(plan(shuffled)) for shuffled in itertools.permutations(nodes)}
    assert len(plans) == 1


def test_a_missing_kind_is_named_and_the_plugin_stays_in_the_order() -> None:
    result = plan([node("a", "nobody", "b"), node("b")])
    assert result.missing == {"a.x": ("nobody",)}
    assert result.order == ("b.x", "a.x")


def test_a_missing_wanted_kind_is_nothing_to_tell() -> None:
    assert plan([node("a", wants=("nobody",))]).missing == {}


def test_a_cycle_names_its_members() -> None:
    result = plan([node("b", "a"), node("a", "b")])
    assert result.cycles == {
        "a.x": "a.x -> b.x -> a.x",
        "b.x": "a.x -> b.x -> a.x",
    }
    assert result.order == ()


def test_a_plugin_that_requires_its_own_kind_is_a_cycle() -> None:
    assert plan([node("a", "a")]).cycles == {"a.x": "a.x -> a.x"}


def test_only_the_members_of_a_cycle_fail() -> None:
    nodes = [node("a", "b"), node("b", "c"), node("c", "b"), node("d")]
    result = plan(nodes)
    assert set(result.cycles) == {"b.x", "c.x"}
    assert result.order == ("a.x", "d.x")


def test_a_wanted_kind_makes_a_cycle_too() -> None:
    nodes = [node("a", wants=("b",)), node("b", "a")]
    assert set(plan(nodes).cycles) == {"a.x", "b.x"}


def test_a_member_of_two_cycles_names_the_shorter() -> None:
    nodes = [node("a", "b", "c"), node("b", "c"), node("c", "a")]
    result = plan(nodes)
    assert result.cycles["a.x"] == "a.x -> c.x -> a.x"
    assert result.cycles["b.x"] == "a.x -> b.x -> c.x -> a.x"


def test_a_long_chain_does_not_overflow_the_stack() -> None:
    count = 5000
    nodes = [node(f"n{i:04}", f"n{i + 1:04}") for i in range(count - 1)]
    nodes.append(node(f"n{count - 1:04}"))
    assert plan(nodes).order[0] == f"n{count - 1:04}.x"


@given(
    st.lists(
        st.tuples(
            st.integers(0, 7), st.sets(st.integers(0, 7)), st.sets(st.integers(0, 7))
        ),
        unique_by=lambda one: one[0],
    )
)
def test_every_plugin_is_placed_once_and_after_its_providers(
    edges: list[tuple[int, set[int], set[int]]],
) -> None:
    nodes = [
        node(f"k{i}", *(f"k{r}" for r in requires), wants=tuple(f"k{w}" for w in wants))
        for i, requires, wants in edges
    ]
    result = plan(nodes)
    assert sorted([*result.order, *result.cycles]) == sorted(n.uri for n in nodes)
    place = {uri: index for index, uri in enumerate(result.order)}
    for one in nodes:
        for kind in (*one.requires, *one.wants):
            if one.uri in place and f"{kind}.x" in place:
                assert place[f"{kind}.x"] < place[one.uri]


def test_the_only_provider_is_chosen() -> None:
    assert choose("k", ["one"]) == "one"


def test_no_provider_is_no_choice() -> None:
    assert choose("k", []) is None


def test_an_ambiguous_choice_names_the_candidates() -> None:
    with pytest.raises(FailedPrecondition, match="more than one provider: one, two"):
        choose("k", ["two", "one"])


def test_the_configuration_chooses() -> None:
    assert choose("k", ["two", "one"], "two") == "two"


def test_a_selected_provider_that_is_not_there_is_not_replaced() -> None:
    assert choose("k", ["one"], "two") is None


def test_a_decorator_comes_after_those_below_it_and_before_who_uses_the_kind() -> None:
    nodes = [
        node("user", "k"),
        Node("k.a", "k", layer=2),
        Node("k.b", "k", layer=1),
        Node("k.z", "k"),
    ]
    assert plan(nodes).order == ("k.z", "k.b", "k.a", "user.x")
    assert plan(nodes).cycles == {}


def test_a_decorator_with_nothing_below_misses_its_own_kind() -> None:
    assert plan([Node("k.a", "k", layer=1)]).missing == {"k.a": ("k",)}
    both = [Node("k.a", "k", layer=1), Node("k.b", "k", layer=2)]
    assert plan(both).missing == {"k.a": ("k",)}


def test_a_decorator_that_needs_a_user_of_its_kind_is_a_cycle() -> None:
    nodes = [Node("k.a", "k", ("user",), layer=1), Node("k.b", "k"), node("user", "k")]
    assert set(plan(nodes).cycles) == {"k.a", "user.x"}
