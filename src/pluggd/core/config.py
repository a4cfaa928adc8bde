# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""From what files and flags say to typed records, with a place for every mistake.

Nothing is guessed and nothing is ignored: an unknown key, a wrong type and a plugin
that does not exist are errors with file, line, key and the likely meaning, all of them
at once. Nothing here starts anything or knows what the options do; how the files are
read is `config_files`.
"""

from __future__ import annotations

import re
import typing
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

from pluggd import paths
from pluggd.core.access import likely_for, unmatched
from pluggd.core.choosing import undecided
from pluggd.core.config_files import ConfigError, Key, Sources
from pluggd.core.discovery import Found
from pluggd.core.settings import Settings, short_kind
from pluggd.errors import InvalidArgument
from pluggd.model.api import judge
from pluggd.model.record import Record, convert
from pluggd.services.hello import RPC
from pluggd.services.schema import is_served, served_names, wire_name
from pluggd.struct import Struct, field
from pluggd.wire.limits import NATIVE_DEPTH

R = TypeVar("R", bound=Record)

_MISSING = re.compile(r"Object missing required field `(.*?)`")
"""msgspec's, of a table that lacks a key without default."""

LEVELS = ("debug", "info", "warning", "error")
FORMATS = ("text", "json")


class Configuration(Struct, frozen=True):
    """What a daemon is started with. root, state, address: absolute, defaults filled in.

    records: the options of each plugin, by URI. warnings: what could not be decided.
    """

    settings: Settings
    root: Path
    state: Path
    address: Path
    records: Mapping[str, Record] = field(default_factory=dict[str, Record])
    warnings: Sequence[str] = ()
    sources: Sources = field(default_factory=Sources)

    def selected(self, kind: str) -> str:
        """The id that [select] names for a kind, or ""."""
        select = self.settings.select
        return select.get(kind) or select.get(short_kind(kind), "")

    def decorators(self, kind: str) -> Sequence[str]:
        """The ids that [decorate] names for a kind, the innermost first."""
        decorate = self.settings.decorate
        return decorate.get(kind) or decorate.get(short_kind(kind), [])


def settings_of(sources: Sources) -> Settings:
    """The options of the daemon, keys and types checked. Raises ConfigError with all
    mistakes in them; what the values mean is looked at by `configure`."""
    problems: list[str] = []
    settings = check(Settings, sources.data, (), sources, problems)
    if settings is None:
        raise ConfigError(problems)
    return settings


def configure(
    sources: Sources, settings: Settings, found: Iterable[Found]
) -> Configuration:
    """The whole configuration, for the plugins that were found. Raises ConfigError.

    When a module could not even say which plugins it holds, an unknown URI may be one
    of its: then it is a warning.
    """
    known: dict[str, Found] = {}
    nameless: list[str] = []
    for one in found:
        if one.registration is None:
            nameless.append(one.name)
        else:
            known.setdefault(one.uri, one)
    problems = _rules(settings, sources)
    unknown = _unknown_uris(settings, sources, known)
    records: dict[str, Record] = {}
    for uri, one in known.items():
        if one.registration is None or (
            one.failure and one.failure.code == "invalid_argument"
        ):
            continue
        section = settings.plugins.get(uri, {})
        record = check(
            one.registration.config, section, ("plugins", uri), sources, problems
        )
        if record is not None:
            records[uri] = record
    warnings: list[str] = []
    if nameless:
        warnings = [f"{text}{_perhaps(nameless)}" for text in unknown]
    else:
        problems += unknown
    idle = _idle_patterns(settings, sources, known)
    # A pattern may also be for a plugin that is still to come: no mistake for sure.
    warnings += [f"{text}{_perhaps(nameless)}" for text in idle]
    warnings += _deprecated(known.values())
    if problems:
        raise ConfigError(problems)
    root = Path(settings.root).absolute() if settings.root else paths.default_root()
    state = Path(settings.state).absolute() if settings.state else paths.default_state()
    address = (
        Path(settings.rpc.address).absolute()
        if settings.rpc.address
        else state / paths.SOCKET
    )
    if root == state:
        raise ConfigError(
            [
                f"{sources.where(('root',))}: root: root and state must differ, both are {root}"
            ]
        )
    configuration = Configuration(
        settings, root, state, address, records, warnings, sources
    )
    registrations = [one.registration for one in known.values() if one.registration]
    warnings += undecided(registrations, configuration, settings.disabled_plugins)
    return configuration


def _perhaps(nameless: Iterable[str]) -> str:
    modules = ", ".join(sorted(nameless))
    return f" (it may be one of {modules}, not loaded)" if modules else ""


def _idle_patterns(
    settings: Settings, sources: Sources, known: Mapping[str, Found]
) -> list[str]:
    """What of the access rules matches no method, of plugins that are off either."""
    access = settings.rpc.access
    if not any(rule.methods for rule in access.rules):
        return []
    kinds = [
        RPC,
        *(one.registration.provides for one in known.values() if one.registration),
    ]
    methods = {
        f"{kind.service}.{wire_name(name)}": None
        for kind in kinds
        if is_served(kind)
        for name in served_names(kind)
    }
    return [
        _problem(
            sources,
            ("rpc", "access", "rules", str(index), "methods"),
            f'"{pattern}" matches no method of a plugin that is here'
            + did_you_mean(pattern, likely_for(pattern, methods)),
        )
        for index, pattern in unmatched(access, methods)
    ]


def _deprecated(found: Iterable[Found]) -> list[str]:
    return [
        f"plugin {one.uri} ({one.path}) {warning}"
        for one in found
        if one.registration is not None
        and one.failure is None
        and one.registration.api
        and (warning := judge(one.registration.api))
    ]


def check(
    type_: type[R],
    data: object,
    prefix: Key,
    sources: Sources,
    problems: list[str],
) -> R | None:
    """A record of plain data; None when something was added to the problems."""
    before = len(problems)
    if not isinstance(data, dict):
        problems.append(
            _problem(sources, prefix, f"expected a table, got {_kind(data)}")
        )
        return None
    table = cast("dict[str, Any]", data)
    if table:
        _check_fields(type_, table, prefix, sources, problems)
    if len(problems) > before:
        return None
    try:
        return convert(table, type_)
    except InvalidArgument as error:  # of the record's own __post_init__
        problems.append(_blame(type_, prefix, error.message, sources))
        return None


def _blame(type_: type[Record], prefix: Key, text: str, sources: Sources) -> str:
    """The text of a record that refuses its values begins with the key at fault."""
    missing = _MISSING.match(text)
    if missing:
        return f"{sources.where(prefix)}: {dotted((*prefix, missing[1]))}: is missing"
    name = text.partition(" ")[0].rstrip(":")
    key = (*prefix, name) if name in type_.__struct_fields__ else prefix
    text = text.removesuffix(": invalid argument")
    return f"{sources.where(key)}: {dotted(prefix)}: {text}"


def _check_fields(
    type_: type[Record],
    table: dict[str, Any],
    prefix: Key,
    sources: Sources,
    problems: list[str],
) -> None:
    hints = typing.get_type_hints(type_)
    fields = type_.__struct_fields__
    for name, value in table.items():
        key = (*prefix, name)
        if name not in fields:
            problems.append(
                _problem(sources, key, "unknown key" + did_you_mean(name, _keys(hints)))
            )
            continue
        hint: Any = hints[name]
        if isinstance(hint, type) and issubclass(hint, Record):
            check(hint, value, key, sources, problems)
            continue
        if typing.get_origin(hint) is dict and isinstance(value, dict):
            # One by one: each has a line of its own.
            inner: Any = typing.get_args(hint)[1]
            for at, one in cast("dict[str, object]", value).items():
                if isinstance(inner, type) and issubclass(inner, Record):
                    check(inner, one, (*key, at), sources, problems)
                else:
                    _check_value(inner, one, (*key, at), sources, problems)
            continue
        element = typing.get_args(hint)[0] if typing.get_origin(hint) is list else None
        if (
            isinstance(element, type)
            and issubclass(element, Record)
            and isinstance(value, list)
        ):
            for index, one in enumerate(cast("list[object]", value)):
                check(element, one, (*key, str(index)), sources, problems)
            continue
        _check_value(hint, value, key, sources, problems)


def _check_value(
    hint: Any, value: object, key: Key, sources: Sources, problems: list[str]
) -> None:
    try:
        convert(value, hint)
    except InvalidArgument as error:
        text = _plain(error.message)
        if typing.get_origin(hint) is typing.Literal:
            words = ", ".join(map(str, typing.get_args(hint)))
            text = f"{value!r} is none of {words}"
        problems.append(_problem(sources, key, text))


def _keys(hints: dict[str, Any]) -> list[str]:
    """The keys of a table, and those of the tables in it, dotted: `log_level` is a likely
    slip for `log.level`."""
    inner = [
        f"{name}.{field}"
        for name, hint in hints.items()
        if isinstance(hint, type) and issubclass(hint, Record)
        for field in hint.__struct_fields__
    ]
    return [*hints, *inner]


def _plain(text: str) -> str:
    r"""`Expected \`int\`, got \`str\`` in the words of TOML and of the other messages."""
    text = text.replace("`object`", "a table").replace("`array`", "a list")
    return (text[:1].lower() + text[1:]).replace("`", "").replace(" - at $", " at ")


def _problem(sources: Sources, key: Key, text: str) -> str:
    return f"{sources.where(key)}: {dotted(key)}: {text}"


def _kind(value: object) -> str:
    return type(value).__name__


def dotted(key: Key) -> str:
    """A key as it stands in the file: `plugins."pluggd.images.v1.store".name`."""
    return ".".join(
        part if part.replace("-", "_").isidentifier() or part.isdigit() else f'"{part}"'
        for part in key
    )


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`, did you mean "x"?`, or "" when nothing is near."""
    import difflib  # for mistakes only

    near = difflib.get_close_matches(name, list(known), n=1)
    return f', did you mean "{near[0]}"?' if near else ""


def _rules(settings: Settings, sources: Sources) -> list[str]:
    problems: list[str] = []

    def rule(holds: bool, key: Key, text: str) -> None:
        if not holds:
            problems.append(_problem(sources, key, text))

    rule(
        settings.log.level in LEVELS,
        ("log", "level"),
        f"{settings.log.level!r} is none of {', '.join(LEVELS)}",
    )
    rule(
        settings.log.format in FORMATS,
        ("log", "format"),
        f"{settings.log.format!r} is none of {', '.join(FORMATS)}",
    )
    for name in ("start_deadline", "stop_deadline", "shutdown_deadline"):
        rule(getattr(settings, name) > 0, (name,), "must be more than 0 seconds")
    rule(settings.rpc.grace >= 0, ("rpc", "grace"), "must not be negative")
    rule(
        0 <= settings.rpc.mode <= 0o777,
        ("rpc", "mode"),
        "must be between 0o000 and 0o777, written as in 0o660",
    )
    for name in type(settings.rpc.limits).__struct_fields__:
        rule(
            getattr(settings.rpc.limits, name) > 0,
            ("rpc", "limits", name),
            "must be more than 0",
        )
    limits = settings.rpc.limits
    rule(
        limits.depth <= NATIVE_DEPTH,
        ("rpc", "limits", "depth"),
        f"must not be more than {NATIVE_DEPTH}",
    )
    rule(
        limits.queued_max >= limits.queued + limits.message_size,
        ("rpc", "limits", "queued_max"),
        f"must be at least queued and message_size together "
        f"({limits.queued + limits.message_size}), or the connection would be cut for "
        f"one result of that size",
    )
    return problems


def _by_kind(name: str, known: Mapping[str, Found]) -> str:
    """`, did you mean "x"?` for who wrote a kind, or its short name, for a URI."""
    for uri, one in known.items():
        kind = one.registration.provides.name if one.registration is not None else ""
        if name in (kind, short_kind(kind)):
            return f', did you mean "{uri}"?'
    return ""


def _unknown_uris(
    settings: Settings, sources: Sources, known: Mapping[str, Found]
) -> list[str]:
    problems: list[str] = []

    def look(uri: str, key: Key) -> None:
        if uri not in known:
            problems.append(
                _problem(
                    sources,
                    key,
                    f'there is no plugin "{uri}"'
                    + (did_you_mean(uri, known) or _by_kind(uri, known)),
                )
            )

    for uri in settings.plugins:
        look(uri, ("plugins", uri))
    for uri in settings.disabled_plugins:
        look(uri, ("disabled_plugins",))
    for uri in settings.required_plugins:
        look(uri, ("required_plugins",))
    problems += [
        _problem(sources, ("required_plugins",), f'plugin "{uri}" is disabled as well')
        for uri in settings.required_plugins
        if uri in settings.disabled_plugins
    ]
    return problems + _bad_choices(settings, sources, known)


def _bad_choices(
    settings: Settings, sources: Sources, known: Mapping[str, Found]
) -> list[str]:
    """What [select] and [decorate] name and there is not, or not for that."""
    problems: list[str] = []
    plain: dict[str, set[str]] = {}
    decorators: dict[str, set[str]] = {}
    for one in known.values():
        if one.registration is None:
            continue
        kind = one.registration.provides.name
        for name in (kind, short_kind(kind)):
            plain.setdefault(name, set())
            decorators.setdefault(name, set())
            mine = decorators if one.registration.decorates else plain
            mine[name].add(one.registration.id)
    chosen = [("select", kind, id_) for kind, id_ in settings.select.items()]
    chosen += [
        ("decorate", kind, id_)
        for kind, ids in settings.decorate.items()
        for id_ in ids
    ]
    for section, kind, id_ in chosen:
        ids, others = (
            (plain, decorators) if section == "select" else (decorators, plain)
        )
        if kind not in ids:
            text = f'there is no kind "{kind}"' + did_you_mean(kind, ids)
        elif id_ in ids[kind]:
            continue
        elif id_ in others[kind] and section == "select":
            text = f'"{id_}" decorates {kind}: name it under [decorate]'
        elif id_ in others[kind]:
            text = f'"{id_}" provides {kind} and does not decorate it: name it under [select]'
        else:
            what = "provider of" if section == "select" else "plugin that decorates"
            there = ", ".join(sorted(ids[kind])) or "none"
            text = f'no {what} {kind} has the id "{id_}", there is {there}'
        problems.append(_problem(sources, (section, kind), text))
    problems += [
        _problem(sources, ("decorate", kind), "names a plugin twice")
        for kind, ids in settings.decorate.items()
        if len(set(ids)) < len(ids)
    ]
    return problems
