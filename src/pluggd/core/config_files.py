# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Config files with their imports, and flags, laid over each other.

Every value keeps its place, file and line or flag, so that whoever finds a mistake in
it can say where. What the keys mean is `config`'s business; the one thing known of
them is which are paths.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from pluggd import paths
from pluggd.errors import InvalidArgument
from pluggd.struct import Struct, field

Key = tuple[str, ...]

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


class Sources(Struct):
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


def load(file: Path | None = None, flags: Mapping[Key, Any] | None = None) -> Sources:
    """Read a file with its imports, and lay the flags over it.

    Without a file, the default one is read when it exists. Raises ConfigError.
    """
    sources = Sources()
    if file is None:
        default = paths.default_config()
        if _is_file(default):
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


def _is_file(path: Path) -> bool:
    """Raises ConfigError where it may not even be looked for, as in the home directory
    of another user."""
    try:
        return path.is_file()
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}"]) from error


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
    import tomllib  # there may be no file

    from pluggd.core.toml_lines import key_lines

    try:
        text = path.read_bytes().decode()
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}"]) from error
    except UnicodeDecodeError as error:
        raise ConfigError([f"{path}: is not UTF-8: {error}"]) from error
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([_syntax_error(path, text, str(error))]) from error
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
    if imports and path == sources.files[0]:
        # As any value of the first file; those of imported files are theirs.
        data["imports"] = [
            str(path.parent / pattern) for pattern in cast("list[str]", imports)
        ]
    _merge(sources, data, (), origin)
    return _imported(path, cast("list[str]", imports), origin)


def _imported(
    path: Path, patterns: list[str], origin: Callable[[Key], str]
) -> list[Path]:
    """The files that a file imports. Raises ConfigError for one that is missing."""
    import glob  # most files have none

    following: list[Path] = []
    for pattern in patterns:
        full = path.parent / pattern
        if glob.has_magic(pattern):
            following += [Path(name) for name in sorted(glob.glob(str(full)))]
        elif _is_file(full):
            following.append(full)
        else:
            raise ConfigError(
                [f"{origin(('imports',))}: imports: there is no file {full}"]
            )
    return following


def _syntax_error(path: Path, text: str, said: str) -> str:
    """tomllib says where and why, but not what stands there."""
    message, found, place = said.rpartition(" (at ")
    message = message[:1].lower() + message[1:]
    if found and place.startswith("line "):
        line = place.removeprefix("line ").partition(",")[0].rstrip(")")
        there = text.split("\n")[int(line) - 1].strip()
        return f"{path}:{line}: {message}" + (f": {there}" if there else "")
    return f"{path}: {said}"


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
    origin: Callable[[Key], str],
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
    sources: Sources, value: object, key: Key, origin: Callable[[Key], str]
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
