# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Messages to bytes. What is encoded already is spliced, never decoded.

The bytes of a result or an item come from `pluggd.model.record.encode` or from a
store; this module puts the few bytes of the envelope around them. It does not
know what they mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgpack import Packer

from pluggd.errors import PluggdError, to_text
from pluggd.wire.messages import CREDIT, FDS, ITEM

_pack = Packer(unicode_errors="surrogateescape").pack
"""One Packer for all: a new one costs more than most messages."""

_pack_text = Packer(unicode_errors="backslashreplace").pack
"""For what people read: a name that is no UTF-8 is shown, and no client trips over it."""

NIL = b"\xc0"

LARGE = 32 * 1024
"""Bytes from which a value is sent as it lies, behind its header, and not copied."""

_RESPONSE = b"\x94\x01"
_ITEM_HEAD = b"\x93\x02" + _pack(ITEM) + b"\x92"


def encode_value(value: object) -> bytes:
    """Plain data as msgpack. Raises TypeError, ValueError or OverflowError for what
    the wire has no form for."""
    return _pack(value)


def bytes_header(count: int) -> bytes:
    """What comes before `count` bytes, at least LARGE, to make a value of them."""
    if count <= 0xFFFF:
        return b"\xc5" + count.to_bytes(2, "big")
    return b"\xc6" + count.to_bytes(4, "big")


def encode_request(
    msgid: int,
    method: str,
    arguments: Mapping[str, object] | None = None,
    metadata: Mapping[str, object] | None = None,
) -> bytes:
    """A call; empty arguments and metadata are left out."""
    params: list[object] = []
    if metadata:
        params = [arguments or None, metadata]
    elif arguments:
        params = [arguments]
    return _pack([0, msgid, method, params])


def encode_result(msgid: int, result: bytes = NIL) -> bytes:
    """A response without error around an encoded result."""
    return _RESPONSE + _pack(msgid) + NIL + result


def encode_error(msgid: int, error: PluggdError, *, as_map: bool = False) -> bytes:
    """A response with an error: text, or a map for a peer that agreed to `error_map`.

    What is no UTF-8 is escaped."""
    value: object = to_text(error)
    if as_map:
        value = {"code": error.code, "message": error.message, "details": {}}
    return _RESPONSE + _pack(msgid) + _pack_text(value) + NIL


def encode_notification(method: str, params: Sequence[object]) -> bytes:
    """A message without an answer."""
    return _pack([2, method, list(params)])


def encode_item(msgid: int, item: bytes) -> bytes:
    """An item of a stream around its encoded value."""
    return _ITEM_HEAD + _pack(msgid) + item


def encode_credit(msgid: int, count: int) -> bytes:
    """Leave to send `count` more items."""
    return encode_notification(CREDIT, [msgid, count])


def encode_fds(msgid: int, count: int) -> bytes:
    """The announcement that the next message carries `count` descriptors."""
    return encode_notification(FDS, [msgid, count])


def wrap(key: str, value: bytes) -> bytes:
    """The map `{key: value}` around an encoded value."""
    return wrapping(key) + value


def wrapping(key: str) -> bytes:
    """What comes before the value in a map of one key."""
    return b"\x81" + _pack(key)
