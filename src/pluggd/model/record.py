# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Records: the typed values that are stored, sent and configured.

With `pluggd.struct` the only module that imports msgspec; everything else says `Record`. The encoded
form is canonical: the same value gives the same bytes, in the database and on
the wire, so a stored record is sent as it lies.

Records are frozen, and omit fields that hold their default: absent and nil mean
the same (docs/rpc.md). Unknown fields are ignored here, so that an older client can
read a newer daemon; the daemon refuses them in requests (`pluggd.core.dispatch`).
"""

from __future__ import annotations

from typing import Any, Generic, TypeGuard, TypeVar

import msgspec

from pluggd.errors import DataLoss, InvalidArgument
from pluggd.struct import Struct

T = TypeVar("T")
R = TypeVar("R", bound="Record")


class Record(msgspec.Struct, frozen=True, omit_defaults=True):
    """Base of all records."""


class Encoded(Generic[T]):
    """A value in its canonical bytes, decoded only when somebody looks.

    Stores hand these out, so that a get or a list over the socket is a copy of
    what is stored; in process, `value` decodes.
    """

    __slots__ = ("_type", "data")

    def __init__(self, data: bytes, type_: type[T]) -> None:
        self.data = data
        self._type = type_

    @property
    def value(self) -> T:
        return decode(self.data, self._type)

    def __repr__(self) -> str:
        return f"Encoded({self._type.__name__}, {len(self.data)} bytes)"


_encoder = msgspec.msgpack.Encoder(order="deterministic")
_decoders: dict[Any, msgspec.msgpack.Decoder[Any]] = {}


def encode(value: object) -> bytes:
    """The canonical bytes of a record, or of plain data."""
    return _encoder.encode(value)


def spliced(data: bytes) -> object:
    """Bytes that `encode` made, to stand inside of a value that it is given later."""
    return msgspec.Raw(data)


def decode(data: bytes | memoryview, type_: type[T]) -> T:
    """The value of bytes that `encode` made. Raises DataLoss when they are not that."""
    decoder = _decoders.get(type_)
    if decoder is None:
        decoder = _decoders[type_] = msgspec.msgpack.Decoder(type_)
    try:
        return decoder.decode(data)  # type: ignore[no-any-return]
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise DataLoss(f"stored {type_.__name__} cannot be read: {error}") from error


def convert(data: object, type_: type[T], *, strict: bool = True) -> T:
    r"""A typed value from plain data (maps, lists, str, bytes, int).

    Raises InvalidArgument with the path of the culprit, as in
    `Expected \`str\`, got \`int\` - at \`$.image.name\``.
    """
    try:
        return msgspec.convert(data, type_, strict=strict, builtin_types=(bytes,))
    except msgspec.ValidationError as error:
        raise InvalidArgument(str(error)) from error


def decode_json(data: bytes, type_: type[T], what: str) -> T:
    """A typed value from JSON that somebody else wrote; unknown keys are ignored.

    Raises InvalidArgument naming `what` and the path of the culprit.
    """
    try:
        return msgspec.json.decode(data, type=type_)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidArgument(f"{what}: {error}") from error


def encode_json(value: object) -> bytes:
    """Compact JSON of a record or of plain data; the same value gives the same bytes."""
    return msgspec.json.encode(value, order="deterministic")


def to_plain(value: object) -> Any:
    """Plain data (maps, lists, str, bytes, int) of a record; the inverse of `convert`."""
    return msgspec.to_builtins(value, builtin_types=(bytes,))


def replace(record: R, **changes: Any) -> R:
    """A copy of a record with some fields changed."""
    return msgspec.structs.replace(record, **changes)


class RecordField(Struct, frozen=True):
    """One field of a record. `default` is meaningless when `required`."""

    name: str
    type: Any
    required: bool
    default: Any


def is_record(type_: object) -> TypeGuard[type[Record]]:
    """Whether a type (not a value) is a record."""
    return isinstance(type_, type) and issubclass(type_, Record)


def record_fields(type_: type[Record]) -> list[RecordField]:
    """The fields of a record, in order, with their types resolved."""
    found: list[RecordField] = []
    for info in msgspec.structs.fields(type_):
        default: Any = info.default
        if info.default_factory is not msgspec.NODEFAULT:
            default = info.default_factory()
        required = default is msgspec.NODEFAULT
        found.append(
            RecordField(
                info.encode_name, info.type, required, None if required else default
            )
        )
    return found
