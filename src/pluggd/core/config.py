# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""From config files and flags to typed records, with a place for every mistake.

Nothing is guessed and nothing is ignored: an unknown key, a wrong type and a plugin
that does not exist are errors with file, line, key and the likely meaning, all of them
at once. Nothing here starts anything or knows what the options do.
"""

from __future__ import annotations

import difflib
import glob
import tomllib
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

from pluggd import paths
from pluggd.core.discovery import Found
from pluggd.core.settings import Settings, short_kind
from pluggd.core.toml_lines import key_lines
from pluggd.errors import InvalidArgument
from pluggd.model.record import Record, convert

R = TypeVar("R", bound=Record)
Key = tuple[str, ...]

LEVELS = ("debug", "info", "warning", "error")
FORMATS = ("text", "json")
# Values of these keys are paths: relative ones start at the file they stand in.
_PATHS: tuple[Key, ...] = (
    ("root",),
    ("state",),
    ("rpc", "address"),
    ("plugin_dirs",),
)


class ConfigError(InvalidArgument):
    """One or more mistakes in the configuration, a line each."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = list(problems)


@dataclass
class Sources:
    """All files and flags merged, not yet typed. origins: where each value came from,
    and what is inside of lists. tables: where each table was first opened."""

    data: dict[str, Any] = field(default_factory=dict[str, Any])
    origins: dict[Key, str] = field(default_factory=dict[Key, str])
    tables: dict[Key, str] = field(default_factory=dict[Key, str])
    files: list[Path] = field(default_factory=list[Path])

    def where(self, key: Key) -> str:
        """The origin of a key, or of the nearest value around it; "default" when no
        file or flag says anything."""
        if key in self.tables and key not in self.origins:
            return self.tables[key]
        for length in range(len(key), 0, -1):
            if key[:length] in self.origins:
                return self.origins[key[:length]]
        return "default"


@dataclass(frozen=True)
class Configuration:
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


# --- files and flags


def load(file: Path | None = None, flags: Mapping[Key, Any] | None = None) -> Sources:
    """Read a file with its imports, and lay the flags over it.

    Without a file, the default one is read when it exists. Raises ConfigError.
    """
    sources = Sources()
    if file is None:
        default = paths.default_config()
        if default.is_file():
            _read_all(default, sources)
    else:
        _read_all(file, sources)
    for key, value in (flags or {}).items():
        _merge(
            sources,
            _nested(key, value),
            (),
            lambda path: f"flag --{path[-1].replace('_', '-')}",
        )
    return sources


def _nested(key: Key, value: Any) -> dict[str, Any]:
    for part in reversed(key):
        value = {part: value}
    return cast("dict[str, Any]", value)


def _read_all(file: Path, sources: Sources) -> None:
    """Breadth first; a file that was read before is not read again."""
    queue = [file.absolute()]
    seen: set[Path] = set()
    while queue:
        path = queue.pop(0)
        if (resolved := path.resolve()) in seen:
            continue
        seen.add(resolved)
        queue += _read_one(path, sources)


def _read_one(path: Path, sources: Sources) -> list[Path]:
    try:
        text = path.read_bytes().decode()
        data = tomllib.loads(text)
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}"]) from error
    except UnicodeDecodeError as error:
        raise ConfigError([f"{path}: is not UTF-8: {error}"]) from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([_syntax_error(path, str(error))]) from error
    lines = key_lines(text)
    sources.files.append(path)
    for key in _PATHS:
        _make_absolute(data, key, path.parent)

    def origin(key: Key) -> str:
        while key and key not in lines:
            key = key[:-1]
        return f"{path}:{lines.get(key, 1)}"

    imports = data.pop("imports", [])
    if not isinstance(imports, list) or not all(
        isinstance(one, str) for one in cast("list[object]", imports)
    ):
        raise ConfigError([f"{origin(('imports',))}: imports: expected a list of str"])
    _merge(sources, data, (), origin)
    following: list[Path] = []
    for pattern in cast("list[str]", imports):
        full = path.parent / pattern
        if glob.has_magic(pattern):
            following += [Path(name) for name in sorted(glob.glob(str(full)))]
        elif full.is_file():
            following.append(full)
        else:
            raise ConfigError(
                [f"{origin(('imports',))}: imports: there is no file {full}"]
            )
    return following


def _syntax_error(path: Path, text: str) -> str:
    message, found, place = text.rpartition(" (at ")
    if found and place.startswith("line "):
        line = place.removeprefix("line ").partition(",")[0].rstrip(")")
        return f"{path}:{line}: {message}"
    return f"{path}: {text}"


def _make_absolute(data: dict[str, Any], key: Key, directory: Path) -> None:
    table: Any = data
    for part in key[:-1]:
        table = cast("dict[str, Any]", table).get(part)
        if not isinstance(table, dict):
            return
    value = cast("dict[str, Any]", table).get(key[-1])
    if isinstance(value, str) and value:
        table[key[-1]] = str(directory / Path(value).expanduser())
    elif isinstance(value, list):
        table[key[-1]] = [
            str(directory / Path(one).expanduser()) if isinstance(one, str) else one
            for one in cast("list[object]", value)
        ]


def _merge(
    sources: Sources,
    new: dict[str, Any],
    prefix: Key,
    origin: typing.Callable[[Key], str],
) -> None:
    target = sources.data
    for part in prefix:
        target = target[part]
    for name, value in new.items():
        key = (*prefix, name)
        if isinstance(value, dict) and value:
            if not isinstance(target.get(name), dict):
                target[name] = {}
                _forget(sources, key)
            sources.tables.setdefault(key, origin(key))
            _merge(sources, cast("dict[str, Any]", value), key, origin)
        else:
            _forget(sources, key)
            target[name] = value
            sources.origins[key] = origin(key)
            _note_inside(sources, cast("object", value), key, origin)


def _forget(sources: Sources, key: Key) -> None:
    for places in (sources.origins, sources.tables):
        for old in [path for path in places if path[: len(key)] == key]:
            del places[old]


def _note_inside(
    sources: Sources, value: object, key: Key, origin: typing.Callable[[Key], str]
) -> None:
    """Origins of the tables in a list: [[rpc.access.rules]] has a line for each key."""
    if not isinstance(value, list):
        return
    for index, element in enumerate(cast("list[object]", value)):
        if isinstance(element, dict):
            for name, inner in cast("dict[str, object]", element).items():
                path = (*key, str(index), name)
                sources.origins[path] = origin(path)
                _note_inside(sources, inner, path, origin)


# --- types


def settings_of(sources: Sources) -> Settings:
    """The options of the daemon. Raises ConfigError with all mistakes in them; the
    sections of plugins are looked at by `configure`."""
    problems: list[str] = []
    settings = check(Settings, sources.data, (), sources, problems)
    if settings is None:
        raise ConfigError(problems)
    problems += _rules(settings, sources)
    if problems:
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
    problems: list[str] = []
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
        modules = ", ".join(sorted(nameless))
        warnings = [
            f"{text} (it may be one of {modules}, not loaded)" for text in unknown
        ]
    else:
        problems += unknown
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
    return Configuration(settings, root, state, address, records, warnings, sources)


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
    except InvalidArgument as error:
        problems.append(_problem(sources, prefix, error.message))
        return None


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
                _problem(sources, key, "unknown key" + did_you_mean(name, fields))
            )
            continue
        hint: Any = hints[name]
        if isinstance(hint, type) and issubclass(hint, Record):
            check(hint, value, key, sources, problems)
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
        try:
            convert(value, hints[name])
        except InvalidArgument as error:
            problems.append(_problem(sources, key, _plain(error.message)))


def _plain(text: str) -> str:
    r"""`Expected \`int\`, got \`str\`` in the words of the other messages."""
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
    return problems


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
                    f'there is no plugin "{uri}"' + did_you_mean(uri, known),
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
    ids: dict[str, set[str]] = {}
    for one in known.values():
        if one.registration is not None:
            kind = one.registration.provides.name
            for name in (kind, short_kind(kind)):
                ids.setdefault(name, set()).add(one.registration.id)
    for kind, id_ in settings.select.items():
        key = ("select", kind)
        if kind not in ids:
            problems.append(
                _problem(
                    sources, key, f'there is no kind "{kind}"' + did_you_mean(kind, ids)
                )
            )
        elif id_ not in ids[kind]:
            problems.append(
                _problem(
                    sources,
                    key,
                    f'no provider of {kind} has the id "{id_}", there is'
                    f" {', '.join(sorted(ids[kind]))}",
                )
            )
    return problems
