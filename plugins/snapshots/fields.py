# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The fields of a snapshot: what a filter can see, and what labels say."""

from __future__ import annotations

from collections.abc import Mapping

from pluggd.model.filters import Adaptor, label_value
from pluggd.model.labels import without_empty
from pluggd.model.record import decode
from pluggd.model.references import expiry, is_root
from pluggd.services.metadata import FOREVER, NEVER
from pluggd.services.snapshots import INHERITED, REFERENCE, SnapshotInfo


def adaptor(record: bytes) -> Adaptor:
    """What filters see of a stored snapshot."""
    info = decode(record, SnapshotInfo)

    def field(path: tuple[str, ...]) -> str | None:
        match path:
            case ("kind",):
                return info.kind
            case ("name",):
                return info.name
            case ("parent",):
                return info.parent
            case ("labels", *rest):
                return label_value(info.labels, rest)
            case _:
                return None

    return field


def inherited(labels: Mapping[str, str]) -> dict[str, str]:
    """The labels that the driver gets, too."""
    return {
        key: value
        for key, value in without_empty(labels).items()
        if key.startswith(INHERITED) or key == REFERENCE
    }


def root_until(labels: Mapping[str, str]) -> int:
    """Until when labels make a snapshot a root of collection."""
    expires = expiry(labels)
    if expires is not None:
        return max(expires, NEVER)
    return FOREVER if is_root(labels) else NEVER
