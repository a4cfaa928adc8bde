# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""From records to TOML: the documented default file, and a dump with origins.

Both are made by one walk over the records, so that what is documented is what is read.
Nothing here reads a configuration.
"""

from __future__ import annotations

import ast
import inspect
import itertools
import json
import textwrap
from collections.abc import Callable, Mapping
from typing import Any, cast

from pluggd.core.config import Configuration
from pluggd.core.config_files import Key
from pluggd.core.discovery import Found
from pluggd.core.settings import DAEMON_KEYS, Settings
from pluggd.model.record import Record, replace, to_plain

HEADER = """\
# The configuration of pluggd, with every key, its meaning, unit and default.
# A file needs only what it changes. `pluggd config check` finds mistakes,
# `pluggd config dump` shows where each value comes from.
#
# SIGHUP and `pluggctl config reload` read it again. The daemon's own options are then in
# force, but for those that say otherwise; a plugin whose options changed is started
# anew, with what needs it, but for those that it takes while it runs.
"""


def default_text(found: list[Found]) -> str:
    """config.toml as it documents itself, for the plugins that were found."""
    out = [HEADER.rstrip()]
    writer = _Writer(out, lambda key: "", documented=True)
    writer.record(Settings(), ())
    for one in found:
        registration = one.registration
        if registration is None or one.failure is not None:
            continue
        record = registration.config()
        if record.__struct_fields__:
            out.append("")
            if registration.description:
                out.append(_comment(registration.description))
            if registration.live:
                names = ", ".join(registration.live)
                out.append(_comment(f"Taken while it runs: {names}."))
            writer.record(record, ("plugins", registration.uri), header=True)
    return "\n".join(out).rstrip("\n") + "\n"


def dump_text(configuration: Configuration) -> str:
    """Every value with its origin behind it; reading it gives the same configuration."""
    out: list[str] = []
    writer = _Writer(out, configuration.sources.where, documented=False)
    settings = replace(
        configuration.settings,
        root=str(configuration.root),
        state=str(configuration.state),
        rpc=replace(configuration.settings.rpc, address=str(configuration.address)),
    )
    writer.record(settings, ())
    for uri, record in sorted(configuration.records.items()):
        if record.__struct_fields__:
            out.append("")
            writer.record(record, ("plugins", uri), header=True)
    return "\n".join(out).lstrip("\n") + "\n"


class _Writer:
    def __init__(
        self, out: list[str], origin: Callable[[Key], str], *, documented: bool
    ) -> None:
        self._out = out
        self._origin = origin
        self._documented = documented

    def record(self, record: Record, path: Key, *, header: bool = False) -> None:
        """One table: plain values first, then the tables inside."""
        docs = field_docs(type(record)) if self._documented else {}
        if header:
            self._out.append(f"[{_dotted(path)}]")
        tables: list[tuple[str, Any]] = []
        for name in record.__struct_fields__:
            value = getattr(record, name)
            if path == () and name == "plugins":
                continue
            if (
                isinstance(value, Record)
                or _is_table(value)
                or _is_records(value)
                or (path == () and name in ("select", "decorate", "proxy_plugins"))
            ):
                tables.append((name, value))
            else:
                self._plain(name, value, (*path, name), docs.get(name, ""))
        for name, value in tables:
            self._out.append("")
            if name in docs:
                self._out.append(_comment(docs[name]))
            elif self._documented and isinstance(value, Record) and value.__doc__:
                self._out.append(_comment(inspect.cleandoc(value.__doc__)))
            if isinstance(value, Record):
                self.record(value, (*path, name), header=True)
            elif isinstance(value, list):
                for index, one in enumerate(cast("list[Record]", value)):
                    origin = self._origin((*path, name, str(index)))
                    self._out.append(f"[[{_dotted((*path, name))}]]  # {origin}")
                    for key, inner in to_plain(one).items():
                        self._out.append(
                            f"{_dotted((key,))} = {value_text(inner, key)}"
                        )
            else:
                self._out.append(f"[{_dotted((*path, name))}]")
                for key, inner in cast("dict[str, Any]", value).items():
                    self._plain(key, inner, (*path, name, key), "")

    def _plain(self, name: str, value: object, key: Key, doc: str) -> None:
        if self._documented:
            if not self._out[-1].startswith("["):
                self._out.append("")
            if doc:
                self._out.append(_comment(doc))
            if key in DAEMON_KEYS:
                self._out.append(_comment("Needs a new start of the daemon."))
        if value is None:
            self._out.append(f"# {_dotted((name,))} is not set")
            return
        text = f"{_dotted((name,))} = {value_text(to_plain(value), name)}"
        if not self._documented:
            text += f"  # {self._origin(key)}"
        self._out.append(text)


def _is_table(value: object) -> bool:
    return isinstance(value, dict) and bool(cast("dict[str, Any]", value))


def _is_records(value: object) -> bool:
    return isinstance(value, list) and any(
        isinstance(one, Record) for one in cast("list[object]", value)
    )


def _comment(text: str) -> str:
    return textwrap.indent(text, "# ", lambda line: True).replace("# \n", "#\n")


def _dotted(key: Key) -> str:
    return ".".join(
        part
        if part.isascii() and part.replace("-", "_").isidentifier()
        else _string(part)
        for part in key
    )


def _string(text: str) -> str:
    # JSON's escapes are TOML's, but for DEL, which JSON leaves as it is.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def value_text(value: object, name: str = "") -> str:
    """A plain value on one line. Numbers called mode are octal, as everywhere else."""
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            octal = name == "mode" or name.endswith("_mode")
            return f"0o{value:03o}" if octal and value >= 0 else str(value)
        case float():
            return repr(value)
        case str():
            return _string(value)
        case list() | tuple():
            return (
                "["
                + ", ".join(value_text(one) for one in cast("list[object]", value))
                + "]"
            )
        case Mapping():
            pairs = [
                f"{_dotted((key,))} = {value_text(one, key)}"
                for key, one in cast("Mapping[str, object]", value).items()
                if one is not None
            ]
            return "{ " + ", ".join(pairs) + " }" if pairs else "{}"
        case _:
            raise TypeError(f"no TOML for {value!r}")


def table_text(data: Mapping[str, Any]) -> str:
    """Plain data as a TOML file, for those who build a configuration in Python."""
    return "".join(
        f"{_dotted((key,))} = {value_text(value, key)}\n"
        for key, value in data.items()
        if value is not None
    )


def field_docs(type_: type[Record]) -> dict[str, str]:
    """The docstring below each field of a record, inherited ones included."""
    docs: dict[str, str] = {}
    for cls in reversed(type_.__mro__):
        if not issubclass(cls, Record) or cls is Record:
            continue
        try:
            tree = ast.parse(textwrap.dedent(inspect.getsource(cls)))
        except (OSError, TypeError):
            continue
        body = cast("ast.ClassDef", tree.body[0]).body
        for statement, following in itertools.pairwise(body):
            if (
                isinstance(statement, ast.AnnAssign)
                and isinstance(statement.target, ast.Name)
                and isinstance(following, ast.Expr)
                and isinstance(following.value, ast.Constant)
                and isinstance(following.value.value, str)
            ):
                docs[statement.target.id] = inspect.cleandoc(following.value.value)
    return docs
