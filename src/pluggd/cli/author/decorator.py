# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The class of a plugin that stands over another one of its kind, as source code.

One method is written out, to be changed; all others are the other provider's own. Read
from the source of the Protocol, as `stubs` does it.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pluggd.cli.author.stubs import (
    Method,
    broken,
    head,
    imports_of,
    methods_of,
    text_of,
)

PREFERRED = ("delete", "remove", "publish", "pull", "update")
"""What somebody may want to forbid or to watch, the likeliest first."""

SIMPLE = {"str": '"x"', "int": "0", "bytes": 'b""', "bool": "False"}


@dataclass(frozen=True)
class Decorator:
    """method: the one that is written out. signature, forward: its lines, the call of the
    other's for its body. others: the methods that are taken over. imports: what the
    signature needs. example: a call of it
    for something that is not there, "" for methods of another sort."""

    method: str
    signature: str
    forward: str
    others: Sequence[str]
    imports: Sequence[str]
    example: str


def decorator(interface: type[Any]) -> Decorator:
    """Of the Protocol of a kind that pluggd has."""
    methods = methods_of(interface)
    name = next((one for one in PREFERRED if one in methods), next(iter(methods)))
    method = methods[name]
    return Decorator(
        method=name,
        signature="\n".join(head(method.node)),
        forward="\n".join(_forward(method.node)),
        others=[one for one in methods if one != name],
        imports=sorted(imports_of([method])),
        example=_example(method),
    )


def _forward(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    """`return await self._below.name(...)`, broken as a formatter breaks it."""
    word = "await " if isinstance(node, ast.AsyncFunctionDef) else ""
    nothing = isinstance(node.returns, ast.Constant) and node.returns.value is None
    returned = "" if nothing else "return "
    given = [one.arg for one in (*node.args.posonlyargs, *node.args.args)][1:]
    if node.args.vararg is not None:
        given.append(f"*{node.args.vararg.arg}")
    given += [f"{one.arg}={one.arg}" for one in node.args.kwonlyargs]
    if node.args.kwarg is not None:
        given.append(f"**{node.args.kwarg.arg}")
    return broken(f"        {returned}{word}self._below.{node.name}", given, "")


def _example(method: Method) -> str:
    node = method.node
    if node.name not in ("delete", "remove"):
        return ""  # what anything else says to such arguments differs
    given: list[str] = []
    pairs = zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
    for parameter, default in pairs:
        if default is not None:
            continue
        note = "" if parameter.annotation is None else text_of(parameter.annotation)
        if note not in SIMPLE:
            return ""
        given.append(f"{parameter.arg}={SIMPLE[note]}")
    return f"{node.name}({', '.join(given)})"
