# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Labels: strings on objects, for people and for the collector.

Key and value together are at most 4096 bytes (containerd's rule). An empty
value means absent: it is never stored.
"""

from __future__ import annotations

from collections.abc import Mapping

from pluggd.errors import InvalidArgument

MAX_SIZE = 4096
_SHOWN = 64  # of a key in a message: enough to recognise it, short enough to read


def validate_labels(labels: Mapping[str, str], what: str = "labels") -> None:
    """Raises InvalidArgument for an empty key or an oversized pair.

    `what` names the map in the message, as in `image.Labels`.
    """
    for key, value in labels.items():
        if not key:
            raise InvalidArgument(
                f"{what}: label key must not be empty: invalid argument"
            )
        size = len(key.encode("utf-8", "surrogateescape")) + len(
            value.encode("utf-8", "surrogateescape")
        )
        if size > MAX_SIZE:
            raise InvalidArgument(
                f"{what}: label key and value length ({size} bytes) greater than "
                f"maximum size ({MAX_SIZE} bytes), key: {key[:_SHOWN]}: invalid argument"
            )


def without_empty(labels: Mapping[str, str]) -> dict[str, str]:
    """A copy without the pairs whose value is empty."""
    return {key: value for key, value in labels.items() if value}
