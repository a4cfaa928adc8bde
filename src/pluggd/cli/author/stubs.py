# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The methods of a Protocol as source code of a class that has yet to keep it.

Read from the source of the module that declares it, so that annotations and defaults
stand as they were written, and with the imports they need.
"""

from __future__ import annotations

import ast
import builtins
import importlib
import inspect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

WIDTH = 88


def stubs(interface: type[Any], service: str) -> tuple[str, list[str]]:
    """The methods, indented by four, and the imports that their signatures need."""
    methods = methods_of(interface).values()
    texts = [_method(method.node, service) for method in methods]
    return "\n".join(texts), sorted(imports_of(methods))


@dataclass(frozen=True)
class Method:
    """A method of a Protocol as its source has it. module: where it is declared."""

    node: ast.FunctionDef | ast.AsyncFunctionDef
    module: str


def methods_of(interface: type[Any]) -> dict[str, Method]:
    """All that its Protocols declare, by name, in order."""
    methods: dict[str, Method] = {}
    for cls in reversed(interface.__mro__):
        if cls is object or not getattr(cls, "_is_protocol", False):
            continue
        if cls.__module__ == "typing":
            continue
        for node in _class_of(cls).body:
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                methods[node.name] = Method(node, cls.__module__)
    return methods


def imports_of(methods: Iterable[Method]) -> set[str]:
    """The lines that bring the names of their signatures into a file."""
    names: dict[str, str] = {}
    for method in methods:
        for used in _names(method.node):
            names.setdefault(used, method.module)
    return {line for used, module in names.items() if (line := _import(used, module))}


def _class_of(cls: type[Any]) -> ast.ClassDef:
    module = ast.parse(inspect.getsource(importlib.import_module(cls.__module__)))
    for node in module.body:
        if isinstance(node, ast.ClassDef) and node.name == cls.__name__:
            return node
    raise LookupError(f"{cls.__module__} does not define {cls.__name__}")


def _names(node: ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
    parts: list[ast.AST] = [node.args]
    if node.returns is not None:
        parts.append(node.returns)
    return {
        name.id
        for part in parts
        for name in ast.walk(part)
        if isinstance(name, ast.Name)
    }


def _import(name: str, module: str) -> str:
    """The line that brings a name into a file, as the module itself has it."""
    for node in ast.parse(inspect.getsource(importlib.import_module(module))).body:
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if name == (alias.asname or alias.name):
                    renamed = f" as {alias.asname}" if alias.asname else ""
                    return f"from {node.module} import {alias.name}{renamed}"
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if name == (alias.asname or alias.name):
                    return f"import {alias.name}"
    return "" if hasattr(builtins, name) else f"from {module} import {name}"


def _method(node: ast.FunctionDef | ast.AsyncFunctionDef, service: str) -> str:
    name = node.name.removesuffix("_")
    raising = f'        raise NotImplemented_("{service}.{name}: not implemented")'
    return "\n".join([*head(node), raising, ""])


def head(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    """The lines up to the body."""
    lines: list[str] = []
    is_property = any(
        isinstance(one, ast.Name) and one.id == "property"
        for one in node.decorator_list
    )
    if is_property:
        lines.append("    @property")
    word = "async def" if isinstance(node, ast.AsyncFunctionDef) else "def"
    returns = f" -> {text_of(node.returns)}" if node.returns is not None else ""
    name = f"    {word} {node.name}"
    return [*lines, *broken(name, _parameters(node.args), f"{returns}:")]


def text_of(node: ast.AST) -> str:
    text = ast.unparse(node)
    # unparse writes 'single' quotes, which formatters turn around.
    return text.replace("'", '"') if '"' not in text else text


def _parameters(args: ast.arguments) -> list[str]:
    def one(arg: ast.arg, default: ast.expr | None) -> str:
        note = f": {text_of(arg.annotation)}" if arg.annotation is not None else ""
        if default is None:
            return arg.arg + note
        return (
            f"{arg.arg}{note} = {text_of(default)}"
            if note
            else f"{arg.arg}={text_of(default)}"
        )

    positional = [*args.posonlyargs, *args.args]
    defaults: list[ast.expr | None] = [None] * (len(positional) - len(args.defaults))
    defaults += args.defaults
    found: list[str] = []
    for index, (arg, default) in enumerate(zip(positional, defaults, strict=True)):
        found.append(one(arg, default))
        if args.posonlyargs and index == len(args.posonlyargs) - 1:
            found.append("/")
    if args.vararg is not None:
        found.append("*" + one(args.vararg, None))
    elif args.kwonlyargs:
        found.append("*")
    found += [
        one(arg, default)
        for arg, default in zip(args.kwonlyargs, args.kw_defaults, strict=True)
    ]
    if args.kwarg is not None:
        found.append("**" + one(args.kwarg, None))
    return found


def broken(before: str, parts: Sequence[str], after: str) -> list[str]:
    """`before(parts)after` as a formatter breaks it: as a whole, hugged, one a line."""
    whole = f"{before}({', '.join(parts)}){after}"
    if len(whole) <= WIDTH:
        return [whole]
    indent = before[: len(before) - len(before.lstrip())]
    hugged = f"{indent}    {', '.join(parts)}"
    if len(hugged) <= WIDTH:
        return [f"{before}(", hugged, f"{indent}){after}"]
    inside = [f"{indent}    {one}," for one in parts]
    return [f"{before}(", *inside, f"{indent}){after}"]
