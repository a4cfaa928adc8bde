# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What the name of an entry means: a place below the root, or a deletion."""

from __future__ import annotations

from pluggd.errors import InvalidArgument

from .entries import shown

MAX_NAME = 4096
"""Bytes of a name or of the target of a link: what the kernel takes as a path."""

WHITEOUT = b".wh."
OPAQUE = b".wh..wh..opq"
_METADATA = b".wh..wh."

Parts = tuple[bytes, ...]


def clean(name: bytes, what: str = "entry") -> Parts:
    """The components of a name, without empty ones and dots; none for the root.

    An absolute name is one below the root. Raises InvalidArgument for a name that
    climbs above the root, is too long, or holds a NUL byte.
    """
    if len(name) > MAX_NAME:
        raise InvalidArgument(
            f"{what} {shown(name)}: a name of {len(name)} bytes is longer than "
            f"{MAX_NAME}: invalid argument"
        )
    if b"\0" in name:
        raise InvalidArgument(f"{what} {shown(name)} holds a NUL byte")
    parts: list[bytes] = []
    for part in name.split(b"/"):
        if part == b"..":
            if not parts:
                raise InvalidArgument(
                    f"{what} {shown(name)} leads out of the layer: invalid argument"
                )
            parts.pop()
        elif part not in (b"", b"."):
            parts.append(part)
    return tuple(parts)


def is_metadata(parts: Parts) -> bool:
    """Whether an entry is AUFS's own record keeping, which no other file system reads."""
    return any(part.startswith(_METADATA) and part != OPAQUE for part in parts)


def deleted(parts: Parts) -> bytes | None:
    """What a whiteout deletes in its directory; None for what is no whiteout.

    Raises InvalidArgument for whiteouts of nothing, and for entries below one.
    """
    for part in parts[:-1]:
        if part.startswith(WHITEOUT):
            raise InvalidArgument(
                f"entry {shown(b'/'.join(parts))} lies below the whiteout "
                f"{shown(part)}: invalid argument"
            )
    if not parts[-1].startswith(WHITEOUT):
        return None
    name = parts[-1][len(WHITEOUT) :]
    if name in (b"", b".", b".."):
        raise InvalidArgument(
            f"entry {shown(b'/'.join(parts))} is a whiteout of no name: "
            "invalid argument"
        )
    return name
