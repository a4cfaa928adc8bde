# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Does what a plugin yields keep the interface of its kind?

Checked once, at its start, so that a forgotten method is the status of the plugin
that forgot it and not an error in the plugin that calls it an hour later. Names and
parameters are compared, types are not: those are for the type checker.
"""

from __future__ import annotations

import inspect
from typing import Any, Protocol, cast

from pluggd.services.kind import Kind

_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def mismatches(kind: Kind[Any], implementation: object) -> list[str]:
    """What is wrong, one phrase each; empty when the interface is kept."""
    interface = cast(type, kind.interface)
    if not getattr(interface, "_is_protocol", False):
        if isinstance(implementation, interface):
            return []
        if isinstance(implementation, type) and issubclass(implementation, interface):
            return [_class_itself(implementation)]
        return [
            f"is of the class {type(implementation).__qualname__}, not"
            f" {interface.__qualname__}"
        ]
    found: list[str] = []
    if isinstance(implementation, type) and any(
        inspect.isfunction(inspect.getattr_static(implementation, name, None))
        for name, _ in _methods(interface)
    ):
        return [_class_itself(implementation)]
    for name, declared in _methods(interface):
        if _alike(declared, _plain_method(implementation, name)):
            continue
        try:
            given = inspect.getattr_static(implementation, name)
        except AttributeError:
            found.append(f"has no {name}()")
            continue
        if isinstance(declared, property):
            continue
        bound = getattr(implementation, name, None)
        if not callable(bound):
            found.append(f"has {name}, which is no method")
            continue
        found += _compare(name, declared, given, bound)
    return found


def _class_itself(given: type[Any]) -> str:
    name = given.__qualname__
    return f"is the class {name} itself: yield an object of it, as in {name}()"


def _methods(interface: type) -> list[tuple[str, Any]]:
    members: dict[str, Any] = {}
    for cls in reversed(interface.__mro__):
        if cls in (object, Protocol) or not getattr(cls, "_is_protocol", False):
            continue
        for name, value in vars(cls).items():
            public = not name.startswith("_") or name in ("__aiter__", "__call__")
            if public and (inspect.isfunction(value) or isinstance(value, property)):
                members[name] = value
    return sorted(members.items())


def _plain_method(implementation: object, name: str) -> object:
    """The function behind a method; None when more than one is behind it."""
    if name in getattr(implementation, "__dict__", ()):
        return None
    for cls in type(implementation).__mro__:
        if name in cls.__dict__:
            return cls.__dict__[name]
    return None


def _alike(declared: object, given: object) -> bool:
    """Whether two functions take the very same parameters, as nearly all do: then there
    is nothing to compare, which would be a twentieth of each start."""
    if not (inspect.isfunction(declared) and inspect.isfunction(given)):
        return False
    if inspect.iscoroutinefunction(declared) != inspect.iscoroutinefunction(given):
        return False
    return _parameters(declared) == _parameters(inspect.unwrap(given))


def _parameters(function: Any) -> tuple[object, ...]:
    code = function.__code__
    count = code.co_argcount + code.co_kwonlyargcount
    return (
        code.co_varnames[:count],
        code.co_argcount,
        code.co_posonlyargcount,
        code.co_flags & (inspect.CO_VARARGS | inspect.CO_VARKEYWORDS),
        len(function.__defaults__ or ()),
        set(function.__kwdefaults__ or ()),
    )


def _compare(name: str, declared: Any, given: Any, bound: Any) -> list[str]:
    try:
        accepted = inspect.signature(bound).parameters
    except (TypeError, ValueError):
        return []
    wanted = dict(list(inspect.signature(declared).parameters.items())[1:])
    variadic = {parameter.kind for parameter in accepted.values()}
    found: list[str] = []
    positional = [
        parameter
        for parameter in accepted.values()
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY
        and parameter.kind not in _VARIADIC
    ]
    names = set(accepted)
    for index, parameter in enumerate(wanted.values()):
        if parameter.kind in _VARIADIC:
            continue
        if parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
            if (
                index >= len(positional)
                and inspect.Parameter.VAR_POSITIONAL not in variadic
            ):
                found.append(f"{name}() takes too few positional parameters")
        elif parameter.name not in names:
            if inspect.Parameter.VAR_KEYWORD not in variadic:
                found.append(f"{name}() does not take {parameter.name}")
        elif (
            parameter.kind is inspect.Parameter.KEYWORD_ONLY
            and accepted[parameter.name].kind is inspect.Parameter.POSITIONAL_ONLY
        ):
            found.append(f"{name}() does not take {parameter.name} by name")
        elif (
            parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
            and accepted[parameter.name].kind is inspect.Parameter.KEYWORD_ONLY
        ):
            found.append(f"{name}() does not take {parameter.name} by position")
        elif (
            parameter.default is not inspect.Parameter.empty
            and accepted[parameter.name].default is inspect.Parameter.empty
        ):
            found.append(f"{name}() has no default for {parameter.name}")
    takes_positional_only = sum(
        parameter.kind is inspect.Parameter.POSITIONAL_ONLY
        for parameter in wanted.values()
    )
    excused = {parameter.name for parameter in positional[:takes_positional_only]}
    found += [
        f"{name}() needs {parameter.name}, which nobody passes"
        for parameter in accepted.values()
        if parameter.name not in wanted
        and parameter.name not in excused
        and parameter.kind not in _VARIADIC
        and parameter.default is inspect.Parameter.empty
    ]
    plain = inspect.isfunction(given) and not hasattr(given, "__wrapped__")
    if (
        plain
        and inspect.iscoroutinefunction(declared)
        and not inspect.iscoroutinefunction(given)
    ):
        found.append(f"{name}() is not async")
    return found
