# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""`pluggctl call` and `methods`: everything that the daemon serves, also by plugins
that this client has never heard of."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from typing import Any

import click

from pluggd.cli.ctl.app import App, Fields, Leaf, pass_app
from pluggd.cli.ctl.args import SERVICES
from pluggd.cli.ctl.completion import complete_methods
from pluggd.cli.ctl.output import (
    clean,
    from_json,
    json_document,
    json_line,
    out,
    table,
)
from pluggd.client.plain import is_map
from pluggd.errors import NotFound


@click.command(cls=Leaf)
@click.option("--lease", default="", help="The lease under which it works.")
@click.argument("method", shell_complete=complete_methods)
@click.argument("arguments", default="{}", metavar="[JSON]")
@pass_app
def call(app: App, lease: str, method: str, arguments: str) -> None:
    """Call METHOD (images.v1.list) with a JSON object of arguments, or - for stdin.

    Bytes are {"$bytes": BASE64} both ways. A stream's items are JSON, one per line:
    those that the method takes come from stdin, those that it sends go to stdout,
    with the result as the last line unless it is empty. A descriptor that it returns
    is closed.
    """
    schema = _schema(app, method)
    takes = "receives" in schema
    if arguments == "-" and takes:
        raise click.UsageError("stdin holds the items, so the arguments must be given")
    given = _parse(sys.stdin.read() if arguments == "-" else arguments, "arguments")
    if not is_map(given):
        raise click.UsageError('the arguments are an object: {"name": ...}')
    if takes:
        result = app.client.upload(
            method, given, _items(), on_item=json_line, timeout=app.timeout, lease=lease
        )
    else:
        with app.stream(method, given, lease=lease) as stream:
            for item in stream:
                json_line(item)
            result = stream.result
            while stream.fds:
                os.close(stream.fds.pop())
    if not (takes or "sends" in schema):
        json_document(result)
    elif result:
        json_line(result)


@click.command(cls=Leaf)
@click.argument("service", default="", shell_complete=SERVICES)
@pass_app
def methods(app: App, service: str) -> None:
    """List the methods that can be called, or those of one SERVICE (images.v1)."""
    answer = app.call("introspection.v1.describe", {"service": service})
    services = answer.get("services", [])
    if app.json:
        json_document(services)
        return
    rows: list[tuple[str, str, str]] = []
    for one in services:
        for method in one.get("methods", []):
            doc = str(method.get("doc", "")).partition("\n")[0]
            rows.append((method["name"], signature_of(method), doc))
    if service:
        for name, signature, doc in rows:
            out(f"{clean(name)} {clean(signature)}")
            if doc:
                out(f"    {clean(doc)}")
    else:
        table(("METHOD", "PURPOSE"), [(name, doc) for name, _, doc in rows])


def _schema(app: App, method: str) -> Fields:
    """Of one method; {} when the daemon does not describe it, and the call will tell."""
    service, _, _ = method.rpartition(".")
    try:
        answer = app.call("introspection.v1.describe", {"service": service})
    except NotFound:
        return {}
    for one in answer.get("services", []):
        for found in one.get("methods", []):
            if found.get("name") == method:
                schema: Fields = found
                return schema
    return {}


def signature_of(method: Fields) -> str:
    parts: list[str] = []
    for parameter in method.get("params", []):
        text = f"{parameter['name']}: {_type(parameter, 'type')}"
        if not parameter.get("required", True):
            text += f" = {json.dumps(parameter.get('default'), default=str)}"
        parts.append(text)
    if "receives" in method:
        parts.append(f"<- stream of {_type(method['receives'], 'item')}")
    if "sends" in method:
        parts.append(f"-> stream of {_type(method['sends'], 'item')}")
    key = method.get("result_key")
    result = _type(method, "result", "result_format")
    return f"({', '.join(parts)}) -> {f'{{{key}: {result}}}' if key else result}"


def _type(described: Fields, key: str, format_: str = "format") -> str:
    """As docs/rpc.md has it: an `int` that is a time is `time`."""
    name = str(described.get(key, ""))
    if described.get(format_) == "time":
        name = re.sub(r"\bint\b", "time", name)
    return name


def _parse(text: str, what: str) -> object:
    try:
        return from_json(json.loads(text))
    except ValueError as error:
        raise click.UsageError(f"{what}: no JSON: {error}") from None


def _items() -> Iterator[Any]:
    for number, line in enumerate(sys.stdin, 1):
        if line.strip():
            yield _parse(line, f"item in line {number}")
