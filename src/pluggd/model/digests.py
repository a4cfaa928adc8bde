# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Digests as OCI writes them: `algorithm:lower-case hex`.

The texts are those of go-digest, which containerd's users know.
"""

from __future__ import annotations

import re

from pluggd.errors import InvalidArgument

HEX_LENGTH = {"sha256": 64, "sha384": 96, "sha512": 128}

_format = re.compile(r"[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[a-zA-Z0-9=_-]+\Z").match
_hex = re.compile(r"[a-f0-9]+\Z").match


def check_digest(digest: str) -> str | None:
    """Why this is no digest, or None when it is one."""
    if not _format(digest):
        return "invalid checksum digest format"
    algorithm, _, value = digest.partition(":")
    length = HEX_LENGTH.get(algorithm)
    if length is None:
        return "unsupported digest algorithm"
    if len(value) != length:
        return "invalid checksum digest length"
    if not _hex(value):
        return "invalid checksum digest format"
    return None


def validate_digest(digest: str) -> None:
    """Raises InvalidArgument with the digest and what is wrong with it."""
    reason = check_digest(digest)
    if reason is not None:
        shown = digest or '""'
        raise InvalidArgument(f"digest {shown}: {reason}: invalid argument")


def split_digest(digest: str) -> tuple[str, str]:
    """`("sha256", hex)` of a valid digest. Raises InvalidArgument otherwise."""
    validate_digest(digest)
    algorithm, _, value = digest.partition(":")
    return algorithm, value
