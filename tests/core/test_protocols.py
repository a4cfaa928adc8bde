# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Whether an object keeps an interface."""

from __future__ import annotations

from typing import Any, Protocol

import pytest

from pluggd.core.protocols import mismatches
from pluggd.plugin import inline
from pluggd.services.kind import Kind


class Shop(Protocol):
    @property
    def name(self) -> str: ...

    async def buy(self, *, item: str, count: int = 1) -> int: ...

    def price(self, item: str) -> int: ...

    def put(self, item: str, /) -> None: ...


SHOP = Kind("test.shop.v1", Shop)


class Good:
    name = "good"

    async def buy(self, *, item: str, count: int = 1) -> int:
        return count

    def price(self, item: str) -> int:
        return 1

    def put(self, whatever: str) -> None:
        pass


def test_a_good_one_has_no_mismatch() -> None:
    assert mismatches(SHOP, Good()) == []


class Inline(Good):
    @inline
    def buy(self, *, item: str, count: int = 1) -> int:
        return count


class Generous(Good):
    async def buy(self, *args: Any, **options: Any) -> int:
        return 1

    def price(self, item: str, extra: int = 0) -> int:
        return 1


@pytest.mark.parametrize("good", [Inline(), Generous()])
def test_more_than_asked_is_fine(good: object) -> None:
    assert mismatches(SHOP, good) == []


class Missing:
    name = "x"

    def price(self, item: str) -> int:
        return 1

    def put(self, item: str) -> None: ...


def but(**members: object) -> object:
    """A good one with some members replaced; in a way that no type checker stops."""
    return type("Bad", (Good,), members)()


async def renamed(self: Good, *, thing: str, count: int = 1) -> int:
    return count


async def no_default(self: Good, *, item: str, count: int) -> int:
    return count


def sync(self: Good, *, item: str, count: int = 1) -> int:
    return count


def keyword_only(self: Good, *, item: str) -> int:
    return 1


def too_few(self: Good) -> None: ...


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (Missing(), ["has no buy()"]),
        (Good, ["is the class Good itself: yield an object of it, as in Good()"]),
        (but(price=None), ["has price, which is no method"]),
        (
            but(buy=renamed),
            ["buy() does not take item", "buy() needs thing, which nobody passes"],
        ),
        (but(buy=no_default), ["buy() has no default for count"]),
        (but(buy=sync), ["buy() is not async"]),
        (but(price=keyword_only), ["price() does not take item by position"]),
        (but(put=too_few), ["put() takes too few positional parameters"]),
    ],
)
def test_what_is_wrong_is_told(wrong: object, told: list[str]) -> None:
    assert mismatches(SHOP, wrong) == told


def test_an_interface_that_is_a_class_wants_an_instance() -> None:
    kind = Kind("test.number.v1", int)
    assert mismatches(kind, 3) == []
    assert mismatches(kind, "3") == ["is of the class str, not int"]
    assert mismatches(kind, int) == [
        "is the class int itself: yield an object of it, as in int()"
    ]
