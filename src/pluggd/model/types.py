# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The value types that several services share, each defined once.

Whoever copies a descriptor copies all four fields; annotations that get lost
on the way are what the last change of the original's history repaired.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias
from typing import Any as Anything

from pluggd.model.record import Record

Time: TypeAlias = Annotated[int, "nanoseconds since the epoch, UTC"]
"""When something happened; 0 for never. An `int` in Python, in the database and on the
wire, except for clients that agreed on timestamps (`rpc.v1.hello`)."""


class Descriptor(Record, frozen=True):
    """What a blob is, without the blob (OCI content descriptor).

    `size` in bytes. `annotations`: empty values are absent.
    """

    media_type: str = ""
    digest: str = ""
    size: int = 0
    annotations: dict[str, str] = {}


class Any(Record, frozen=True):
    """A value of a type that only its users know: a type name and msgpack data."""

    type_url: str = ""
    value: Anything = None


class Mount(Record, frozen=True):
    """One mount(2): filesystem type, source, target below the root, options."""

    type: str = ""
    source: str = ""
    target: str = ""
    options: list[str] = []


class Platform(Record, frozen=True):
    """What a binary runs on, in Go's words (`linux`, `arm64`, `v8`)."""

    os: str = ""
    architecture: str = ""
    variant: str = ""
    os_version: str = ""
