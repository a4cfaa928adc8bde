# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Writes docs/rpc.md: the wire contract in prose, then every service from its Protocol.

    python -m pluggd.core.rpcdoc > docs/rpc.md

A test holds the file equal to this. The prose is in `rpcdoc.md` beside this module;
figures in it come from the code, as `{limit:depth}` and the like.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator
from importlib import resources
from typing import Any, TypeGuard

import pluggd.services
from pluggd.errors import CLASSES
from pluggd.services.kind import Kind
from pluggd.services.schema import (
    CHUNK_CREDIT,
    CHUNK_SIZE,
    ITEM_CREDIT,
    TIME,
    MethodSchema,
    Parameter,
    describe_record,
    service_schema,
    shown_type,
)
from pluggd.services.wiretypes import is_time, type_name
from pluggd.struct import as_map
from pluggd.wire.limits import Limits

NOT_SERVED = (
    "Not for clients: the daemon calls these methods at a process that provides the kind "
    "for it (`[proxy_plugins]`), and its own socket has none of them."
)


def kinds_with_methods() -> list[Kind[Any]]:
    """All kinds of `pluggd.services` that declare methods, by name."""
    found: dict[str, Kind[Any]] = {}
    for module in pkgutil.iter_modules(pluggd.services.__path__):
        members = vars(importlib.import_module(f"pluggd.services.{module.name}"))
        for member in members.values():
            if _is_kind(member) and service_schema(member).methods:
                found[member.name] = member
    return [found[name] for name in sorted(found)]


def _is_kind(value: object) -> TypeGuard[Kind[Any]]:
    return isinstance(value, Kind)


def render() -> str:
    """The whole text of docs/rpc.md."""
    prose = resources.files("pluggd.core").joinpath("rpcdoc.md").read_text("utf-8")
    services = ["\n".join(_service(kind)) for kind in kinds_with_methods()]
    parts = [part.rstrip() for part in (_fill(prose), *services)]
    return "\n\n".join(parts) + "\n"


def _fill(prose: str) -> str:
    limits = as_map(Limits())
    values: dict[str, object] = {f"limit:{name}": n for name, n in limits.items()}
    values["item_credit"] = ITEM_CREDIT
    values["chunk_credit"] = CHUNK_CREDIT
    values["chunk_size"] = CHUNK_SIZE
    values["errors"] = "\n".join(
        f"| `{code}` | {_first_line(cls.__doc__)} |" for code, cls in CLASSES.items()
    )
    return re.sub(r"\{\{([a-z:_]+)\}\}", lambda m: str(values[m[1]]), prose)


def _first_line(doc: str | None) -> str:
    return (doc or "").strip().partition("\n")[0]


def _service(kind: Kind[Any]) -> Iterator[str]:
    schema = service_schema(kind)
    yield f"## {schema.name}"
    yield ""
    if not kind.served:
        yield NOT_SERVED
        yield ""
    yield f"Kind `{schema.kind}`. {schema.doc}"
    for method in schema.methods:
        yield ""
        yield from _method(method)
    for record in schema.records():
        yield ""
        yield from _record(describe_record(record))


def _method(method: MethodSchema) -> Iterator[str]:
    yield f"### {method.name}"
    yield ""
    arguments = ", ".join(_argument(parameter) for parameter in method.parameters)
    result = _type(method.result)
    if method.key:
        result = f"{{{method.key}: {result}}}"
    yield f"`{{{arguments}}}` → `{result}`"
    for word, stream in (("sends", method.sends), ("takes", method.receives)):
        if stream is not None:
            chunk = f", at most {stream.chunk} bytes each" if stream.chunk else ""
            yield ""
            yield (
                f"Stream: {word} items of `{_type(stream.item)}`{chunk}, "
                f"{stream.credit} before credit."
            )
    if not method.namespaced:
        yield ""
        yield "Needs no namespace."
    if method.doc:
        yield ""
        yield method.doc


def _argument(parameter: Parameter) -> str:
    text = f"{parameter.name}: {_type(parameter.type)}"
    if not parameter.required:
        text += f" = {_value(parameter.default)}"
    return text


def _record(record: dict[str, Any]) -> Iterator[str]:
    yield f"#### {record['name']}"
    yield ""
    if record["doc"]:
        yield record["doc"]
        yield ""
    yield "| field | type | default |"
    yield "|---|---|---|"
    for field in record["fields"]:
        kind = shown_type(field["type"], field.get("format", ""))
        kind = kind.replace("|", "\\|")
        default = "required" if field["required"] else f"`{_value(field['default'])}`"
        yield f"| `{field['name']}` | `{kind}` | {default} |"


def _type(type_: Any) -> str:
    return shown_type(type_name(type_), TIME if is_time(type_) else "")


def _value(value: object) -> str:
    if value is None:
        return "nil"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, bytes):
        return '""' if not value else repr(value)
    if isinstance(value, (list, tuple)) and not value:
        return "[]"
    return str(value)  # pyright: ignore[reportUnknownArgumentType]


if __name__ == "__main__":
    print(render(), end="")
