# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
r"""The text of filters: one string to its selectors, or where and why it is none.

    filter    selector ("," selector)*
    selector  field ("." field)* [operator value]       without operator: presence
    field     [A-Za-z0-9_]+ or "quoted"
    operator  == | != | ~=
    value     graphic characters up to a space or comma, or "quoted";
              after ~= also /quoted/ or |quoted|
    quoted    with Go's escapes: \a \b \f \n \r \t \v \\ \<quote> \ooo \xhh \uhhhh \Uhhhhhhhh

Space is skipped before a field, an operator or a value, and refused elsewhere. What
is an error, and its text, are those of containerd's parser; they are all settled by
the text alone, so that a filter is refused before any data is looked at.

Nothing here knows what a selector means; that is `filters`.
"""

from __future__ import annotations

import string
import unicodedata
from typing import NoReturn

from pluggd.errors import InvalidArgument
from pluggd.struct import Struct

_FIELD = frozenset(string.ascii_letters + string.digits + "_")
_OPERATOR = frozenset("=!~")
_OPERATORS = frozenset({"==", "!=", "~="})
_QUOTES = frozenset('"/|')
_SPACE = frozenset("\t\n\v\f\r\x85")
_HINT = 'put text with "/" or "|" in double quotes'
"""Both are quotes of regular expressions, and both are in every topic and name."""

_ESCAPES = dict(zip("abfnrtv\\", "\a\b\f\n\r\t\v\\", strict=True))
_NUMERIC = {"x": (16, 2), "u": (16, 4), "U": (16, 8)}


class Selector(Struct, frozen=True):
    """One comparison. operator "" is presence; `position` is where the value stands."""

    path: tuple[str, ...]
    operator: str = ""
    value: str = ""
    position: int = 0


def parse_filter(text: str) -> list[Selector]:
    """The selectors of one filter. Raises InvalidArgument, never anything else."""
    return _Parser(text).filter()


def parse_error(text: str, position: int, reason: str) -> InvalidArgument:
    """The error for a filter, with the place marked as `[before >|c|< after]`."""
    place = text
    if position < len(text):
        place = f"{text[:position]} >|{text[position]}|< {text[position + 1 :]}"
    return InvalidArgument(
        f"filters: parse error: [{place}]: {reason}: invalid argument"
    )


class _Parser:
    """Reads from left to right; `_at` is the next character to read."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def filter(self) -> list[Selector]:
        selectors = [self._selector()]
        while next_ := self._peek():
            if next_ != ",":
                self._refuse(f"unexpected input: {next_}")
            self._at += 1
            selectors.append(self._selector())
        return selectors

    def _selector(self) -> Selector:
        path = [self._field()]
        while self._peek() == ".":
            self._at += 1
            path.append(self._field())
        if self._peek() in ("", ","):
            return Selector(tuple(path))
        operator = self._operator()
        self._skip_space()
        position = self._at
        value = self._value(alternative_quotes=operator == "~=")
        return Selector(tuple(path), operator, value, position)

    def _field(self) -> str:
        self._skip_space()
        if self._peek() in _QUOTES:
            return self._quoted('"')
        field = self._run(_FIELD)
        if not field:
            self._refuse("expected field or quoted")
        return field

    def _operator(self) -> str:
        self._skip_space()
        if self._peek() in _QUOTES:  # an unterminated one is the likelier mistake
            start = self._at
            self._quoted('"/|')
            self._at = start
        start = self._at
        operator = self._run(_OPERATOR)
        if not operator:
            self._refuse('expected an operator ("=="|"!="|"~=")')
        if operator not in _OPERATORS:
            self._refuse(f'unsupported operator "{operator}"', start)
        return operator

    def _value(self, *, alternative_quotes: bool) -> str:
        first = self._peek()
        if first in _QUOTES:
            return self._quoted('"/|' if alternative_quotes else '"')
        start = self._at
        if first and first not in _OPERATOR and first != ".":
            while _is_value(self._peek()):
                self._at += 1
        if self._at == start:
            self._refuse("expected value or quoted")
        return self._text[start : self._at]

    def _quoted(self, allowed: str) -> str:
        """A quoted string; errors stand at its beginning. Bytes that are not UTF-8
        can be written with escapes, and come out as surrogate escapes."""
        start = self._at
        quote = self._text[start]
        if quote not in allowed:
            self._refuse(f"invalid quote encountered, {_HINT}", start)
        self._at += 1
        value = bytearray()
        while (char := self._take(start)) != quote:
            if char == "\\":
                value += self._escape(quote, start)
            else:
                value += char.encode()
        return value.decode("utf-8", "surrogateescape")

    def _escape(self, quote: str, start: int) -> bytes:
        char = self._take(start)
        if char == quote or char in _ESCAPES:
            return _ESCAPES.get(char, char).encode()
        if char in "01234567":
            self._at -= 1
            base, digits = 8, 3
        elif char in _NUMERIC:
            base, digits = _NUMERIC[char]
        else:
            self._refuse("illegal escape sequence", start)
        allowed = string.hexdigits if base == 16 else string.octdigits
        number = self._text[self._at : self._at + digits]
        if len(number) < digits or not all(digit in allowed for digit in number):
            self._refuse("illegal numeric escape sequence", start)
        self._at += digits
        try:
            if char in "uU":
                return chr(int(number, base)).encode()
            return bytes([int(number, base)])
        except (ValueError, OverflowError):  # beyond a byte, or no character
            self._refuse("unquoting failed: invalid syntax", start)

    def _take(self, start: int) -> str:
        """The next character of the quoted string that began at `start`."""
        char = self._peek(start)
        if char in ("", "\n"):
            hint = f", {_HINT}" if self._text[start] in "/|" else ""
            self._refuse(f"quoted literal not terminated{hint}", start)
        self._at += 1
        return char

    def _run(self, allowed: frozenset[str]) -> str:
        start = self._at
        while self._peek() in allowed:
            self._at += 1
        return self._text[start : self._at]

    def _skip_space(self) -> None:
        while _is_space(self._peek()):
            self._at += 1

    def _peek(self, blame: int | None = None) -> str:
        """The next character, "" at the end; refuses what no filter may contain."""
        char = self._text[self._at : self._at + 1]
        if char == "\0":
            self._refuse("unexpected null", blame)
        if "\ud800" <= char <= "\udfff":  # was not UTF-8
            self._refuse("rune error", blame)
        return char

    def _refuse(self, reason: str, position: int | None = None) -> NoReturn:
        raise parse_error(
            self._text, self._at if position is None else position, reason
        )


def _is_space(char: str) -> bool:
    return char in _SPACE or (char != "" and unicodedata.category(char)[0] == "Z")


def _is_value(char: str) -> bool:
    """Graphic, and neither a space nor the comma that ends a selector."""
    return char not in ("", ",") and unicodedata.category(char)[0] in "LMNPS"
