# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The key rule: names of any length under keys of at most 511 bytes.

A key is a prefix (namespace, or type and namespace, each ended by a zero byte)
and the name. A name of more than `VERBATIM` bytes is cut there and followed by
its SHA-256, and the full name is stored in front of the record. Names that
agree in the first `VERBATIM` bytes lie next to each other, ordered by hash; a
listing sorts each such run by the full name, so that every listing is in byte
order of the names and can be continued from any of them.

Names are arbitrary `str`: lone surrogates survive, and byte order is the order
of the code points, `sorted(names)`.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from hashlib import sha256

from pluggd.errors import InvalidArgument
from pluggd.objects.kv import KV, MAX_KEY, ReadKV

VERBATIM = 300
"""Bytes of a name that stand in its key: leaves room for a type and a namespace."""

_HASH = 32
_LENGTH = 4
_MAX_PREFIX = MAX_KEY - VERBATIM - _HASH


@lru_cache(maxsize=4096)
def prefix(*parts: str) -> bytes:
    """The front of a key: each part ended by a zero byte.

    Raises InvalidArgument for parts that contain one or are too long together.
    """
    encoded = b"".join(part.encode("utf-8", "surrogatepass") + b"\0" for part in parts)
    if encoded.count(0) != len(parts) or len(encoded) > _MAX_PREFIX:
        raise InvalidArgument(
            f"{'/'.join(parts)!r} must have at most {_MAX_PREFIX - len(parts)} bytes "
            "and no zero byte: invalid argument"
        )
    return encoded


def after_prefix(front: bytes) -> bytes:
    """The least key that is greater than all with this front."""
    return front[:-1] + b"\1"


def encode_name(name: str) -> bytes:
    return name.encode("utf-8", "surrogatepass")


def decode_name(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass")


def key(front: bytes, name: bytes) -> bytes:
    if len(name) <= VERBATIM:
        return front + name
    return front + name[:VERBATIM] + sha256(name).digest()


def get(kv: ReadKV, table: str, front: bytes, name: str) -> bytes | None:
    """The record of a name, or None."""
    raw = name.encode("utf-8", "surrogatepass")
    if len(raw) <= VERBATIM:
        return kv.get(table, front + raw)
    stored = kv.get(table, key(front, raw))
    return None if stored is None else stored[_LENGTH + len(raw) :]


def put(kv: KV, table: str, front: bytes, name: str, record: bytes) -> None:
    raw = name.encode("utf-8", "surrogatepass")
    if len(raw) <= VERBATIM:
        kv.put(table, front + raw, record)
    else:
        head = len(raw).to_bytes(_LENGTH, "big") + raw
        kv.put(table, key(front, raw), head + record)


def delete(kv: KV, table: str, front: bytes, name: str) -> bool:
    """Remove a record; whether there was one."""
    return kv.delete(table, key(front, encode_name(name)))


def scan(
    kv: ReadKV, table: str, front: bytes, after: str = ""
) -> Iterator[tuple[str, bytes]]:
    """Names greater than `after` and their records, in byte order of the name."""
    length = len(front)
    limit = length + VERBATIM
    stop = after_prefix(front)
    low = encode_name(after)
    start = front if not after else front + low[:VERBATIM] + b"\0"
    while True:
        run: bytes | None = None
        for stored_key, record in kv.seek(table, start, stop):
            if len(stored_key) > limit:
                run = stored_key[:limit]
                break
            yield decode_name(stored_key[length:]), record
        if run is None:
            return
        yield from _scan_run(kv, table, run, low)
        start = _successor(run)


def _scan_run(
    kv: ReadKV, table: str, run: bytes, low: bytes
) -> Iterator[tuple[str, bytes]]:
    """The long names that share their first bytes, sorted by the rest.

    Holds the names of the run in memory, not their records.
    """
    found: list[tuple[bytes, bytes]] = []
    for stored_key, stored in kv.seek(table, run + b"\0", _successor(run)):
        size = int.from_bytes(stored[:_LENGTH], "big")
        name = stored[_LENGTH : _LENGTH + size]
        if name > low:
            found.append((name, stored_key))
    found.sort()
    for name, stored_key in found:
        record = kv.get(table, stored_key)
        if record is not None:
            yield decode_name(name), record[_LENGTH + len(name) :]


def _successor(run: bytes) -> bytes:
    """The least key greater than all that begin with `run`; UTF-8 has no 0xff byte."""
    return run[:-1] + bytes((run[-1] + 1,))


def first_parts(
    kv: ReadKV, table: str, front: bytes = b"", stop: bytes | None = None
) -> Iterator[str]:
    """The distinct parts that follow `front` in the keys below `stop`, in byte order."""
    start = front
    while pair := next(iter(kv.seek(table, start, stop)), None):
        stored_key = pair[0]
        if not stored_key.startswith(front):
            return
        end = stored_key.index(0, len(front))
        yield decode_name(stored_key[len(front) : end])
        start = stored_key[:end] + b"\1"
