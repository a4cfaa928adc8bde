# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The fields of an image: what a filter can see and what an update can change."""

from __future__ import annotations

from collections.abc import Sequence

from pluggd.model.fieldmask import check_fields, masked_map
from pluggd.model.filters import Adaptor, label_value
from pluggd.model.record import decode, replace
from pluggd.services.images import Image

from .validation import normalized


def adaptor(record: bytes) -> Adaptor:
    """What filters see of a stored image."""
    image = decode(record, Image)

    def field(path: tuple[str, ...]) -> str | None:
        match path:
            case ("name",):
                return image.name
            case ("target", "digest"):
                return image.target.digest
            case ("target", "mediatype" | "media_type"):
                return image.target.media_type
            case ("labels", *rest):
                return label_value(image.labels, rest)
            case ("annotations", *rest):
                return label_value(image.target.annotations, rest)
            case _:
                return None

    return field


def check_update(image: Image, fields: Sequence[str]) -> None:
    """Raises InvalidArgument for a field that cannot be updated."""
    check_fields(
        fields,
        plain=("target",),
        maps=("labels", "annotations"),
        what=f'image "{image.name}"',
    )


def updated(stored: Image, requested: Image, fields: Sequence[str]) -> Image:
    """The stored image with the named fields, or all, taken from the request.

    `target` stands for the whole descriptor, its annotations included.
    """
    requested = normalized(requested)
    if not fields:
        return replace(stored, labels=requested.labels, target=requested.target)
    target = requested.target
    if "target" not in fields:
        annotations = masked_map(
            stored.target.annotations, target.annotations, fields, "annotations"
        )
        target = replace(stored.target, annotations=annotations)
    labels = masked_map(stored.labels, requested.labels, fields, "labels")
    return replace(stored, labels=labels, target=target)
