# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What `start` will yield, as far as its source tells, and whether that keeps the kind.

The daemon compares the object itself when the plugin starts; here nothing is started, so
the class is read from the `yield` of the function.
"""

from __future__ import annotations

import ast
import contextlib
import inspect
import textwrap
import types
from collections.abc import Iterable
from typing import Any, cast

from pluggd.core.protocols import mismatches
from pluggd.plugin import Registration

BUILT = (int, str, bytes, float, tuple, list, dict, set, frozenset, BaseException)
"""Classes of which no bare object can be made."""


def wrong_types(registration: Registration[Any, Any]) -> Iterable[str]:
    """What the class that is yielded lacks of the interface; nothing when the source
    does not tell which class it is."""
    for value in plain_values(registration.start):
        found = mismatches(registration.provides, value)
        if found:
            yield f"start yields {value!r}, which {'; '.join(found)}"
    for cls in yielded(registration.start):
        made = object.__new__(cls)
        _take_over(made, cls, registration.provides.interface)
        found = mismatches(registration.provides, made)
        if found:
            yield (
                f"{cls.__qualname__} ({_place(cls)}) does not keep the interface of"
                f" {registration.provides.name}: {'; '.join(found)}"
            )


def _take_over(made: object, cls: type[Any], interface: type[Any]) -> None:
    """Give it the methods that its class sets on itself, as what decorates does with those
    of another provider; their signatures are for a type checker to see."""
    for node in ast.walk(_tree(cls)):
        if (
            isinstance(node, ast.Attribute)
            and isinstance(node.ctx, ast.Store)
            and isinstance(node.value, ast.Name)
            and node.value.id == "self"
            and callable(method := getattr(interface, node.attr, None))
        ):
            with contextlib.suppress(AttributeError):  # one that has slots
                setattr(made, node.attr, types.MethodType(method, made))


def _place(cls: type[Any]) -> str:
    try:
        file, (_, line) = inspect.getsourcefile(cls), inspect.getsourcelines(cls)
    except (OSError, TypeError):
        return "no source"
    return f"{file}:{line}"


def plain_values(start: Any) -> list[object]:
    """What is yielded as it is: nothing, a number or text, or a class by its name."""
    function = inspect.unwrap(start)
    found: list[object] = []
    for node in ast.walk(_tree(function)):
        if not isinstance(node, ast.Yield):
            continue
        if node.value is None:
            found.append(None)
        elif isinstance(node.value, ast.Constant):
            found.append(node.value.value)
        elif isinstance(node.value, ast.Name):
            value = function.__globals__.get(node.value.id)
            if isinstance(value, type):
                found.append(cast("type[Any]", value))
    return found


def _tree(function: Any) -> ast.AST:
    """Of its source; empty where there is none."""
    try:
        return ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        return ast.Module([], [])


def yielded(start: Any) -> list[type[Any]]:
    """The classes whose objects are yielded, where that can be read."""
    function = inspect.unwrap(start)
    tree = _tree(function)
    made: dict[str, ast.expr] = {}
    results: list[ast.expr] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    made[target.id] = node.value
        elif isinstance(node, ast.Yield) and node.value is not None:
            results.append(node.value)
    found: list[type[Any]] = []
    for result in results:
        value = made.get(result.id, result) if isinstance(result, ast.Name) else result
        if isinstance(value, ast.Call) and isinstance(value.func, ast.Name):
            cls: Any = function.__globals__.get(value.func.id)
            if isinstance(cls, type) and not issubclass(cast("type[Any]", cls), BUILT):
                found.append(cast("type[Any]", cls))
    return found
