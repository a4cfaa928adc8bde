# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Labels that the collector reads: what keeps what alive.

The names are the ecosystem's (containerd, docs/garbage-collection.md), so that
images labelled by other tools are kept here too:

- `containerd.io/gc.root`: this object stays. Any non-empty value.
- `containerd.io/gc.ref.content[.x]`, `.ref.snapshot.<snapshotter>[/x]`,
  `.ref.image[.x]`, `.ref.<type>[.x]`: this object keeps the named one.
- `containerd.io/gc.bref.content|image|container[.x]`, `.bref.snapshot.<s>[/x]`:
  this object stays while the named one does.
- `containerd.io/gc.expire`: RFC 3339 time (leases, images).
- `containerd.io/gc.flat`: a lease that keeps only what it names.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from pluggd.struct import Struct

ROOT = "containerd.io/gc.root"
EXPIRE = "containerd.io/gc.expire"
FLAT = "containerd.io/gc.flat"
REF = "containerd.io/gc.ref."
BREF = "containerd.io/gc.bref."

MAX_TIME = 2**63 - 1
"""ns since the epoch that fit where times are stored; in the year 2262."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Reference(Struct, frozen=True):
    """An edge stated by a label. `back`: the named object keeps the labelled one."""

    type: str
    key: str
    back: bool


def references(labels: Mapping[str, str]) -> list[Reference]:
    """The edges that these labels state, in byte order of the labels.

    A label of this family that is malformed states nothing, as in containerd:
    a collector that refuses unknown words would stop at the first newer tool.
    """
    found: list[Reference] = []
    for label in sorted(labels):
        value = labels[label]
        if not value:
            continue
        if label.startswith(REF):
            type_ = _type_of(label[len(REF) :])
            back = False
        elif label.startswith(BREF):
            type_ = _type_of(label[len(BREF) :])
            back = True
        else:
            continue
        if type_:
            found.append(Reference(type_, value, back))
    return found


def _type_of(rest: str) -> str:
    """`content.l.0` gives `content`; `snapshot.native/x` gives `snapshot/native`."""
    name, dot, tail = rest.partition(".")
    if name == "snapshot":
        snapshotter = tail.partition("/")[0]
        return f"snapshot/{snapshotter}" if dot and snapshotter else ""
    return name.partition("/")[0]


def is_root(labels: Mapping[str, str]) -> bool:
    """Whether a label makes its object a root (any key that begins with gc.root)."""
    return any(value and key.startswith(ROOT) for key, value in labels.items())


def is_flat(labels: Mapping[str, str]) -> bool:
    """Whether a lease keeps only what it names."""
    return bool(labels.get(FLAT))


def expiry(labels: Mapping[str, str]) -> int | None:
    """When the object expires, in ns since the epoch; None for never. Times after
    `MAX_TIME` become it.

    A time that cannot be read means never: losing data over a typo is worse
    than keeping it.
    """
    text = labels.get(EXPIRE)
    if not text:
        return None
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        return None
    if when.tzinfo is None:
        return None
    since = when - _EPOCH
    seconds = since.days * 86400 + since.seconds
    return min(seconds * 1_000_000_000 + since.microseconds * 1000, MAX_TIME)
