# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Bytes to messages, in pieces of any size; nothing is built before it was checked.

Three steps for each message. msgpack's `skip` finds its end and builds nothing, so
an incomplete or overlong message costs its bytes and no more. Then depth and
number of values are checked: in most messages three counts in C show that neither
can be over its limit, and only the others are walked (`structure`). Then it
is decoded. The check costs some 15 % of the decoding; the alternative was 68 MB for 5 kB
of nested array headers.

Where the bytes at hand are one small message, as from a client that waits for each
answer, the first step is left out.

The decoder does not know methods, and not what params mean.
"""

from __future__ import annotations

from typing import Any, TypeGuard

from msgpack import ExtType, Timestamp, Unpacker, unpackb
from msgpack.exceptions import (
    ExtraData,
    FormatError,
    OutOfData,
    StackError,
)

from pluggd.wire.errors import LimitExceeded, Malformed, ProtocolError
from pluggd.wire.limits import KIB, NATIVE_DEPTH, Limits
from pluggd.wire.messages import (
    MAX_MSGID,
    Message,
    Notification,
    Request,
    Response,
)
from pluggd.wire.structure import check_structure, peek_msgid

_PIECE = 64 * KIB
_SMALL = 4 * KIB
_FIRST_BUFFER = 4 * KIB
"""msgpack would begin with 1 MiB, twice for each connection."""
_NOT_CONTAINERS = bytes(
    byte for byte in range(256) if not (0x80 <= byte <= 0x9F or 0xDC <= byte <= 0xDF)
)
_UINT64 = 0xCF

EXTENSIONS: frozenset[type] = frozenset({ExtType, Timestamp})
"""What msgpack's extension types come out as. They are none of the profile, but only who
knows where a value belongs can tell which one it is."""


class Decoder:
    """One direction of one connection."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        # Both take 41 kB each, for the stack that msgpack reserves in them, and most
        # connections never need either: made when they are.
        self._scanner: Unpacker | None = None
        self._strict: Unpacker | None = None
        self._parts: list[bytes] = []
        self._pending = 0
        self._end = 0
        self._single = True
        self._failed: ProtocolError | None = None

    def _new_scanner(self) -> Unpacker:
        # The margin above the limit: msgpack must never be the one to find that its
        # buffer is full, since it did so silently in the past (msgpack#503). It is not:
        # what waits is at most the limit, and what comes on top at most a piece.
        return Unpacker(
            read_size=_FIRST_BUFFER,
            max_buffer_size=self._limits.message_size + 2 * _PIECE,
        )

    @property
    def pending(self) -> int:
        """Bytes of a message that is not complete yet."""
        return self._pending

    def feed(self, data: bytes) -> list[Message]:
        """The messages that these bytes complete.

        Raises ProtocolError, with the messages before the fault in `messages`; every
        later call raises it again, without messages.
        """
        if self._failed is not None:
            raise self._failed
        messages: list[Message] = []
        try:
            if self._single and not self._pending and len(data) <= _SMALL:
                message = self._whole(data)
                if message is not None:
                    return [message]
            if len(data) <= _PIECE:
                self._take(data, messages)
            else:
                view = memoryview(data)
                for start in range(0, len(data), _PIECE):
                    self._take(bytes(view[start : start + _PIECE]), messages)
        except ProtocolError as error:
            self._failed = ProtocolError(error.error, msgid=error.msgid)
            error.messages = messages
            self._parts.clear()
            raise
        self._single = len(messages) == 1
        return messages

    def _whole(self, data: bytes) -> Message | None:
        """The message that these bytes are, if they are exactly one.

        Most are: a client that waits for each answer sends one at a time, and looking
        for its end first costs more than decoding it. None for all that is not plain,
        which then goes the long way. Raises Malformed.
        """
        if self._suspicious(data):
            return None
        try:
            value: object = unpackb(data)
        except Exception:  # noqa: BLE001 -- the long way tells what it is
            self._single = False
            return None
        return _message(value, False)

    def _suspicious(self, raw: bytes) -> bool:
        """Whether some limit might be exceeded by these bytes."""
        limits = self._limits
        size = len(raw)
        return (
            size > limits.message_size
            or size > limits.elements
            or (
                size > limits.depth < NATIVE_DEPTH
                and len(raw.translate(None, _NOT_CONTAINERS)) > limits.depth
            )
            or _UINT64 in raw
        )

    def _take(self, data: bytes, messages: list[Message]) -> None:
        scanner = self._scanner
        if scanner is None:
            scanner = self._scanner = self._new_scanner()
        scanner.feed(data)
        start = 0
        while start < len(data):
            try:
                scanner.skip()
            except OutOfData:
                break
            except StackError:
                raise LimitExceeded(
                    f"a message may nest at most {self._limits.depth} levels",
                    msgid=peek_msgid(b"".join(self._parts) + data[start : start + 16]),
                ) from None
            except (FormatError, ValueError) as error:
                raise Malformed(
                    f"it is no msgpack ({_reason(error)})",
                    msgid=peek_msgid(b"".join(self._parts) + data[start : start + 16]),
                ) from None
            end = scanner.tell()
            size = end - self._end
            self._end = end
            if self._pending:
                stop = size - self._pending
                self._parts.append(data[:stop])
                raw = b"".join(self._parts)
                self._parts.clear()
                self._pending = 0
            else:
                stop = start + size
                raw = data if size == len(data) else data[start:stop]
            start = stop
            messages.append(self._decode(raw))
        if start < len(data):
            self._parts.append(data[start:] if start else data)
            self._pending += len(data) - start
            if self._pending > self._limits.message_size:
                raise LimitExceeded(
                    f"a message may have at most {self._limits.message_size} bytes",
                    msgid=peek_msgid(b"".join(self._parts[:16])),
                )

    def _decode(self, raw: bytes) -> Message:
        limits = self._limits
        size = len(raw)
        if size > limits.message_size:
            raise LimitExceeded(
                f"a message may have at most {limits.message_size} bytes, not {size}",
                msgid=peek_msgid(raw),
            )
        if self._suspicious(raw):
            check_structure(raw, limits)
        escaped = False
        strict = self._strict
        if strict is None:
            strict = self._strict = _unpacker(limits, "strict")
        try:
            try:
                value = _unpack(strict, raw)
            except UnicodeDecodeError:
                self._strict = None
                value = _unpack(_unpacker(limits, "surrogateescape"), raw)
                escaped = True
        except (ValueError, TypeError, FormatError, ExtraData) as error:
            raise Malformed(_reason(error), msgid=peek_msgid(raw)) from None
        return _message(value, escaped)


def _unpacker(limits: Limits, unicode_errors: str) -> Unpacker:
    return Unpacker(
        read_size=_FIRST_BUFFER,
        unicode_errors=unicode_errors,
        max_buffer_size=limits.message_size + 2 * _PIECE,
        max_array_len=limits.elements,
        max_map_len=limits.elements,
    )


def _unpack(unpacker: Unpacker, raw: bytes) -> object:
    unpacker.feed(raw)
    return unpacker.unpack()


def _reason(error: Exception) -> str:
    text = str(error)
    if "strict_map_key" in text:  # said of an option that the peer does not have
        return f"a key of a map is no string, but of type {text.partition(' ')[0]}"
    return text or type(error).__name__


def _message(value: object, escaped: bool) -> Message:
    if not _is_array(value):
        raise Malformed(f"it is no array, but {_kind(value)}")
    size = len(value)
    if size == 4:
        kind, msgid, third, fourth = value
        if type(msgid) is not int or not 0 <= msgid <= MAX_MSGID:
            raise Malformed("msgid is no unsigned 32-bit integer")
        if kind == 0 and type(kind) is int:
            if type(third) is not str:
                third = _method(third, msgid)
            return Request(msgid, third, fourth, escaped)
        if kind == 1 and type(kind) is int:
            return Response(msgid, third, fourth)
    elif size == 3 and value[0] == 2:
        return Notification(_method(value[1], None), value[2], escaped)
    raise Malformed(
        "expected [0, msgid, method, params], [1, msgid, error, result] or "
        f"[2, method, params], got an array of {size}"
        + (f" that begins with {_kind(value[0])}" if value else "")
    )


def _is_array(value: object) -> TypeGuard[list[Any]]:
    return type(value) is list


def _method(value: object, msgid: int | None) -> str:
    if type(value) is str:
        return value
    if type(value) is bytes:  # pynvim sends so
        return value.decode("utf-8", "surrogateescape")
    raise Malformed(f"method is no string, but {_kind(value)}", msgid=msgid)


def _kind(value: object) -> str:
    if type(value) is int:
        return str(value)
    names: dict[type, str] = {
        dict: "a map",
        list: "an array",
        str: "a string",
        bytes: "a binary",
    }
    return names.get(type(value), "another value")
