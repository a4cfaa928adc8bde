# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""A page of a listing, made of stored records without decoding them."""

from __future__ import annotations

from collections.abc import Sequence

from pluggd.model.record import encode


def encode_page(key: str, records: Sequence[bytes], after: str) -> bytes:
    """The canonical bytes of `{key: [records], "next": after}` without empty parts."""
    parts: list[bytes] = [bytes([0x80 + bool(records) + bool(after)])]
    if records:
        parts += [encode(key), _array_header(len(records)), *records]
    if after:
        parts += [encode("next"), encode(after)]
    return b"".join(parts)


def _array_header(length: int) -> bytes:
    if length < 16:
        return bytes([0x90 + length])
    if length < 1 << 16:
        return b"\xdc" + length.to_bytes(2, "big")
    return b"\xdd" + length.to_bytes(4, "big")
