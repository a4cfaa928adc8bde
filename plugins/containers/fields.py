# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The fields of a container: what a filter can see and what an update can change."""

from __future__ import annotations

from collections.abc import Sequence

from pluggd.model.fieldmask import check_fields, masked_map
from pluggd.model.filters import Adaptor, label_value
from pluggd.model.labels import without_empty
from pluggd.model.record import decode, replace
from pluggd.model.types import Any
from pluggd.services.containers import Container

from .validation import validate_unchanged

_SNAPSHOT_KEY = ("snapshot_key", "snapshotkey")
"""The record's word, and containerd's."""

_NOTHING = Any()


def adaptor(record: bytes) -> Adaptor:
    """What filters see of a stored container."""
    container = decode(record, Container)

    def field(path: tuple[str, ...]) -> str | None:
        match path:
            case ("id",):
                return container.id
            case ("runtime", "name"):
                return container.runtime.name
            case ("image",):
                return container.image or None
            case ("labels", *rest):
                return label_value(container.labels, rest)
            case _:
                return None

    return field


def check_update(container: Container, fields: Sequence[str]) -> None:
    """Raises InvalidArgument for a field that cannot be updated."""
    check_fields(
        fields,
        plain=("spec", "image", *_SNAPSHOT_KEY),
        maps=("labels", "extensions"),
        what=f'"{container.id}"',
    )


def normalized(container: Container) -> Container:
    """The container without empty labels and extensions, which mean absent."""
    extensions = {
        key: value
        for key, value in container.extensions.items()
        if not (key and _is_nothing(value))
    }
    return replace(
        container, labels=without_empty(container.labels), extensions=extensions
    )


def updated(
    stored: Container, requested: Container, fields: Sequence[str]
) -> Container:
    """The stored container with the named fields, or all, taken from the request.

    Raises InvalidArgument when all are taken and one of them cannot change.
    """
    requested = normalized(requested)
    if not fields:
        validate_unchanged(stored, requested)
        fields = ("labels", "spec", "extensions", "image", "snapshot_key")
    result = replace(
        stored,
        labels=masked_map(stored.labels, requested.labels, fields, "labels"),
        extensions=masked_map(
            stored.extensions,
            requested.extensions,
            fields,
            "extensions",
            empty=_is_nothing,
        ),
    )
    if "spec" in fields:
        result = replace(result, spec=requested.spec)
    if "image" in fields:
        result = replace(result, image=requested.image)
    if any(name in fields for name in _SNAPSHOT_KEY):
        result = replace(result, snapshot_key=requested.snapshot_key)
    return result


def _is_nothing(value: Any) -> bool:
    return value == _NOTHING
