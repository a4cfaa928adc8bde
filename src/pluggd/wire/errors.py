# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""When the other side breaks the protocol, and how errors are read from an answer.

An error of a call is a `PluggdError` and belongs to that call. A `ProtocolError`
belongs to the connection: the stream is out of step or costs too much, and is closed.
"""

from __future__ import annotations

from collections.abc import Sequence

from pluggd.errors import (
    InvalidArgument,
    PluggdError,
    ResourceExhausted,
    Unknown,
    from_code,
    from_text,
)
from pluggd.wire.messages import Message


class ProtocolError(Exception):
    """The peer sent what is no message or is over a limit; close the connection.

    error: what to tell it. msgid: of the request at fault, where it could be read.
    messages: those of the same input that came before and are still good.
    """

    def __init__(
        self,
        error: PluggdError,
        *,
        msgid: int | None = None,
        messages: Sequence[Message] = (),
    ) -> None:
        super().__init__(str(error))
        self.error = error
        self.msgid = msgid
        self.messages = list(messages)

    @property
    def code(self) -> str:
        """`invalid_argument` for what is no message, `resource_exhausted` for a limit."""
        return self.error.code


class Malformed(ProtocolError):
    """What came is no msgpack, or msgpack but no message."""

    def __init__(self, reason: str, *, msgid: int | None = None) -> None:
        super().__init__(
            InvalidArgument(f"not a msgpack-RPC message: {reason}"), msgid=msgid
        )


class LimitExceeded(ProtocolError):
    """A message is over a limit."""

    def __init__(self, reason: str, *, msgid: int | None = None) -> None:
        super().__init__(ResourceExhausted(reason), msgid=msgid)


def error_from_wire(value: object) -> PluggdError:
    """The error in a response: `code: message`, or the map of `error_map`.

    What is neither becomes `Unknown`, with the value as text.
    """
    if isinstance(value, bytes):
        value = value.decode("utf-8", "surrogateescape")
    if isinstance(value, str):
        return from_text(value)
    if isinstance(value, dict):
        code: object = value.get("code")  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        message: object = value.get("message")  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        if isinstance(code, str) and isinstance(message, str):
            return from_code(code, message)
    return Unknown(f"the peer answered with an error of no known form: {value!r}")
