# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What the suites of all kinds have in common: leaving out, limits, a metadata store.

It knows no kind. A suite is a class whose methods are rules; who provides a kind makes a
class of it and overrides one fixture.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any, ClassVar, NoReturn, TypeVar

import pytest
import trio

from pluggd.services.metadata import Metadata
from pluggd.testing.memory import memory_metadata

F = TypeVar("F", bound=Callable[..., Any])

NEEDS = "__pluggd_needs__"
IN_PROCESS = "in_process"


def needs(*capabilities: str) -> Callable[[F], F]:
    """Mark a rule that holds only for providers with these optional capabilities."""

    def mark(rule: F) -> F:
        setattr(rule, NEEDS, capabilities)
        return rule

    return mark


def missing(suite: type[Conformance], fixture: str) -> NoReturn:
    """What a fixture does that its author has not written."""
    pytest.fail(
        f"{suite.__name__} has no fixture `{fixture}`: override it with one that "
        f"yields your provider, empty (docs/writing-a-plugin.md, Testing)",
        pytrace=False,
    )


class Conformance:
    """The base of all suites.

    optional: the capabilities that a provider may lack, each with what it means.
    lacks: those that yours lacks, each with the reason; their rules are skipped with it.
    limit: seconds for one rule, its fixtures not counted.
    """

    optional: ClassVar[Mapping[str, str]] = {
        IN_PROCESS: "it is an object of this process: it joins transactions of its "
        "caller, and takes text that no wire carries",
    }
    lacks: ClassVar[Mapping[str, str]] = {}
    limit: ClassVar[float] = 60.0

    pytestmark = pytest.mark.trio

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        unknown = sorted(set(cls.lacks) - set(cls.optional))
        if unknown:
            known = "\n".join(
                f"  {name}: {text}" for name, text in cls.optional.items()
            )
            raise TypeError(
                f"{cls.__name__}.lacks names {', '.join(unknown)}, which is not optional "
                f"for this kind; what is:\n{known}"
            )
        for name, rule in list(vars(cls).items()):
            if name.startswith("test_") and inspect.iscoroutinefunction(rule):
                setattr(cls, name, _limited(rule))

    @pytest.fixture(autouse=True)
    def _what_it_can_do(self, request: pytest.FixtureRequest) -> None:
        """Skips a rule that the provider says it does not keep."""
        for capability in getattr(request.function, NEEDS, ()):
            if capability in self.lacks:
                pytest.skip(f"lacks {capability}: {self.lacks[capability]}")

    @pytest.fixture
    async def metadata(self) -> AsyncGenerator[Metadata]:
        """An empty metadata store, in memory, for the provider to stand on. Override it
        to have the rules run on another one."""
        async with memory_metadata() as store:
            yield store


def _limited(
    rule: Callable[..., Awaitable[None]],
) -> Callable[..., Awaitable[None]]:
    """The rule, with an end: a provider that hangs fails it instead of the whole run."""

    @functools.wraps(rule)
    async def limited(self: Conformance, *args: Any, **kwargs: Any) -> None:
        with trio.fail_after(self.limit):
            await rule(self, *args, **kwargs)

    return limited
