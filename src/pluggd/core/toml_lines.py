# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""On which line of a TOML text each key stands.

tomllib gives values without places, and a mistake in a configuration is found by its
line. The text has been parsed by tomllib before, so this scanner only has to find keys
in valid TOML; it reads no values and reports no errors.
"""

from __future__ import annotations

import json

Path = tuple[str, ...]


def key_lines(text: str) -> dict[Path, int]:
    """The line (from 1) of each table and key. Elements of arrays of tables have their
    index as a part of the path: `("rpc", "access", "0", "uids")`."""
    return _Scanner(text).scan()


class _Scanner:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._lines: dict[Path, int] = {}
        self._counts: dict[Path, int] = {}

    def scan(self) -> dict[Path, int]:
        table: Path = ()
        while self._skip_space(newlines=True):
            if self._text.startswith("[[", self._at):
                self._at += 2
                name = self._expand(self._key("]"))
                self._at += 2
                index = self._counts.get(name, 0)
                self._counts[name] = index + 1
                self._note(name)
                table = (*name, str(index))
                self._note(table)
            elif self._text[self._at] == "[":
                self._at += 1
                table = self._expand(self._key("]"))
                self._at += 1
                self._note(table)
            else:
                self._pair(table)
        return self._lines

    def _expand(self, name: Path) -> Path:
        """`[a.b]` below `[[a]]` belongs to the last element of a."""
        path: Path = ()
        for index, part in enumerate(name):
            path = (*path, part)
            if index < len(name) - 1 and path in self._counts:
                path = (*path, str(self._counts[path] - 1))
        return path

    def _note(self, path: Path) -> None:
        line = self._text.count("\n", 0, self._at) + 1
        for length in range(1, len(path) + 1):
            self._lines.setdefault(path[:length], line)

    def _pair(self, table: Path) -> None:
        path = (*table, *self._key("="))
        self._note(path)
        self._at += 1
        self._value(path)

    def _key(self, end: str) -> Path:
        """A dotted key, up to its end mark, which is not consumed."""
        parts: list[str] = []
        while True:
            self._skip_space(newlines=False)
            character = self._text[self._at]
            if character == end:
                return tuple(parts)
            if character == ".":
                self._at += 1
            elif character in "\"'":
                start = self._at
                self._string()
                quoted = self._text[start : self._at]
                parts.append(
                    quoted[1:-1] if character == "'" else _unescape(quoted[1:-1])
                )
            else:
                start = self._at
                while self._text[self._at] not in f". \t{end}":
                    self._at += 1
                parts.append(self._text[start : self._at])

    def _value(self, path: Path) -> None:
        self._skip_space(newlines=False)
        character = self._text[self._at]
        if character in "\"'":
            self._string()
        elif character == "[":
            self._at += 1
            index = 0
            while self._skip_space(newlines=True) and self._text[self._at] != "]":
                if self._text[self._at] == ",":
                    self._at += 1
                    index += 1
                else:
                    self._value((*path, str(index)))
            self._at += 1
        elif character == "{":
            self._at += 1
            while self._skip_space(newlines=True) and self._text[self._at] != "}":
                if self._text[self._at] == ",":
                    self._at += 1
                else:
                    self._pair(path)
            self._at += 1
        else:
            while self._at < len(self._text) and self._text[self._at] not in ",]}\n#":
                self._at += 1

    def _string(self) -> None:
        quote = self._text[self._at]
        mark = quote * 3 if self._text.startswith(quote * 3, self._at) else quote
        self._at += len(mark)
        while not self._text.startswith(mark, self._at):
            self._at += 2 if self._text[self._at] == "\\" and quote == '"' else 1
        self._at += len(mark)
        # Up to two quotes may stand directly before the closing three.
        while len(mark) == 3 and self._text.startswith(quote, self._at):
            self._at += 1

    def _skip_space(self, *, newlines: bool) -> bool:
        """To the next thing that is no space or comment; False at the end."""
        spaces = " \t\r\n" if newlines else " \t"
        while self._at < len(self._text):
            character = self._text[self._at]
            if character == "#" and newlines:
                end = self._text.find("\n", self._at)
                self._at = len(self._text) if end < 0 else end
            elif character in spaces:
                self._at += 1
            else:
                return True
        return False


def _unescape(text: str) -> str:
    try:
        return str(json.loads(f'"{text}"'))
    except ValueError:
        return text
