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
from typing import Any

WIDTH = 88


def stubs(interface: type[Any], service: str) -> tuple[str, list[str]]:
    """The methods, indented by four, and the imports that their signatures need."""
    methods: dict[str, ast.FunctionDef | ast.AsyncFunctionDef] = {}
    modules: dict[str, str] = {}
    for cls in reversed(interface.__mro__):
        if cls is object or not getattr(cls, "_is_protocol", False):
            continue
        if cls.__module__ == "typing":
            continue
        for node in _class_of(cls).body:
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                methods[node.name] = node
                modules[node.name] = cls.__module__
    names: dict[str, str] = {}
    texts: list[str] = []
    for name, node in methods.items():
        for used in _names(node):
            names.setdefault(used, modules[name])
        texts.append(_method(node, service))
    imports = {
        line for used, module in names.items() if (line := _import(used, module))
    }
    return "\n".join(texts), sorted(imports)


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
    lines: list[str] = []
    is_property = any(
        isinstance(one, ast.Name) and one.id == "property"
        for one in node.decorator_list
    )
    if is_property:
        lines.append("    @property")
    word = "async def" if isinstance(node, ast.AsyncFunctionDef) else "def"
    returns = f" -> {_text(node.returns)}" if node.returns is not None else ""
    lines += _signature(f"    {word} {node.name}", _parameters(node.args), returns)
    name = node.name.removesuffix("_")
    lines += [f'        raise NotImplemented_("{service}.{name}: not implemented")', ""]
    return "\n".join(lines)


def _text(node: ast.AST) -> str:
    text = ast.unparse(node)
    # unparse writes 'single' quotes, which formatters turn around.
    return text.replace("'", '"') if '"' not in text else text


def _parameters(args: ast.arguments) -> list[str]:
    def one(arg: ast.arg, default: ast.expr | None) -> str:
        note = f": {_text(arg.annotation)}" if arg.annotation is not None else ""
        if default is None:
            return arg.arg + note
        return (
            f"{arg.arg}{note} = {_text(default)}"
            if note
            else f"{arg.arg}={_text(default)}"
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


def _signature(head: str, parameters: list[str], returns: str) -> list[str]:
    """Broken as a formatter breaks it: as a whole, hugged, one parameter a line."""
    whole = f"{head}({', '.join(parameters)}){returns}:"
    if len(whole) <= WIDTH:
        return [whole]
    hugged = f"        {', '.join(parameters)}"
    if len(hugged) <= WIDTH:
        return [f"{head}(", hugged, f"    ){returns}:"]
    return [f"{head}(", *(f"        {one}," for one in parameters), f"    ){returns}:"]
