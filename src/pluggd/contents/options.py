# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The options that every content store has, as an operator writes them."""

from __future__ import annotations

from typing import Literal

from pluggd.errors import InvalidArgument
from pluggd.model.record import Record

MIB = 1 << 20
MIN_CHUNK = MIB
MAX_CHUNK = 8 * MIB
MAX_YOUNG = 1 << 16
MAX_INLINE = 1 << 16


class Options(Record, frozen=True):
    """The base of a content plugin's config record."""

    policy: Literal["shared", "isolated"] = "shared"
    """Whether a namespace gets a blob that another one has by naming its digest:
    "shared" (yes) or "isolated" (only after sending all bytes, or when a namespace
    that has it carries the label `containerd.io/namespace.shareable=true`). Either way
    the bytes are stored once. Default "shared"."""

    ingest_expiry: int = 24 * 3600
    """Seconds after the last use at which an unfinished ingest without a lease is
    collected; it may live up to a 24th longer or shorter. At least 60. Default 86400."""

    ingest_memory: int = MAX_YOUNG
    """Bytes up to which an unfinished ingest without a lease is held in memory, and
    lost in a kill; 0 to 65536. At most 128 are, and none for longer than a minute after
    its last use. Default 65536."""

    max_inline: int = 1 << 14
    """Bytes up to which a blob has no file: it lies in the metadata store, in the
    transaction of its record; 0 to 65536. What is stored stays where it is when this
    changes. Default 16384."""

    chunk_size: int = MIB
    """Bytes that one `read` or one item of `fetch` carries at most: 1 MiB to 8 MiB.
    Default 1048576."""

    verify_reads: bool = False
    """Hash a blob before each `read`, `fetch` and `open`, as if `verify` were asked for.
    Costs a full read of the blob each time. Default false."""

    def __post_init__(self) -> None:
        """Raises InvalidArgument naming the key, its value and its range."""
        if self.ingest_expiry < 60:
            raise InvalidArgument(
                f"ingest_expiry = {self.ingest_expiry}: must be at least 60 seconds: "
                f"invalid argument"
            )
        if not 0 <= self.ingest_memory <= MAX_YOUNG:
            raise InvalidArgument(
                f"ingest_memory = {self.ingest_memory}: must be from 0 to {MAX_YOUNG} "
                f"bytes: invalid argument"
            )
        if not 0 <= self.max_inline <= MAX_INLINE:
            raise InvalidArgument(
                f"max_inline = {self.max_inline}: must be from 0 to {MAX_INLINE} "
                f"bytes: invalid argument"
            )
        if not MIN_CHUNK <= self.chunk_size <= MAX_CHUNK:
            raise InvalidArgument(
                f"chunk_size = {self.chunk_size}: must be from {MIN_CHUNK} to "
                f"{MAX_CHUNK} bytes: invalid argument"
            )
