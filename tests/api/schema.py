# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The interfaces of all kinds as plain data, and what a change of them breaks."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

from pluggd.cli.author.kinds import known_kinds
from pluggd.model.api import API
from pluggd.plugin import Context, Registration
from pluggd.services.schema import service_schema

SNAPSHOT = Path(__file__).parent / "schema.json"

Members = dict[str, str]
"""What exists, by a path that names it, and its type."""


def released() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(SNAPSHOT.read_text())
    return found


def current() -> dict[str, Any]:
    members: Members = {}
    for name, known in known_kinds().items():
        schema = service_schema(known.kind).describe()
        for method in schema["methods"]:
            members |= _method(method)
        for record in schema["records"]:
            path = f"record {record['name']}"
            for field in record["fields"]:
                members[f"{path}.{field['name']}"] = str(field["type"])
        members |= _signatures(name, known.kind.interface)
    members |= _signatures("pluggd.plugin.Context", Context)
    for field, annotation in Registration.__annotations__.items():
        members[f"pluggd.plugin.Registration.{field}"] = str(annotation)
    return {"api": API, "members": members}


def _method(method: dict[str, Any]) -> Members:
    name = method["name"]
    found = {name: str(method.get("result", ""))}
    for parameter in method["params"]:
        needed = ", required" if parameter["required"] else ""
        found[f"{name}({parameter['name']})"] = f"{parameter['type']}{needed}"
    for direction in ("sends", "receives"):
        if direction in method:
            found[f"{name} {direction}"] = str(method[direction]["item"])
    return found


def _signatures(owner: str, interface: Any) -> Members:
    """The Python face: names, parameters and annotations of a Protocol."""
    found: Members = {}
    for base in reversed(inspect.getmro(interface)):
        if not getattr(base, "_is_protocol", False) or base.__module__ == "typing":
            continue
        for name, value in vars(base).items():
            if isinstance(value, property):
                found[f"{owner}.{name}"] = "property"
            elif inspect.isfunction(value) and not name.startswith("_"):
                signature = inspect.signature(value)
                found[f"{owner}.{name}"] = str(signature.return_annotation)
                for parameter in list(signature.parameters.values())[1:]:
                    needed = parameter.default is inspect.Parameter.empty
                    found[f"{owner}.{name}({parameter.name})"] = (
                        f"{parameter.annotation}{', required' if needed else ''}"
                    )
    return found


def breaks(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What no longer works for who was written against `before`, each with the way out."""
    old: Members = before["members"]
    new: Members = now["members"]
    found: list[str] = []
    for path, type_ in old.items():
        if path not in new:
            found.append(f"removed: {path} ({type_}). {OUT}")
        elif new[path] != type_ and new[path] != type_.removesuffix(", required"):
            found.append(f"changed: {path} was {type_} and is {new[path]}. {OUT}")
    for path, type_ in new.items():
        # A new method may need what it likes; an old one may not begin to.
        method = path.partition("(")[0]
        if path not in old and method in old and type_.endswith(", required"):
            found.append(f"needs more: {path} ({type_}). Give it a default.")
    return found


OUT = (
    "Keep it beside what is new, or make a new version of the kind (docs/decisions/"
    "0003-kinds.md); if nothing was released with it, run"
    " `python scripts/api_snapshot.py --break` and say so in changelog.d"
)
