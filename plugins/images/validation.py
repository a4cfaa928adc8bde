# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The form of an image record, as pure functions; the first fault decides.

Not checked, as in containerd: whether the name is a reference (any text is a name)
and whether the target exists (an image may come before its content).
"""

from __future__ import annotations

from pluggd.errors import InvalidArgument
from pluggd.model.digests import check_digest
from pluggd.model.labels import validate_labels, without_empty
from pluggd.model.record import replace
from pluggd.services.images import Image

MAX_SIZE = 2**63 - 1


def validate_name(image: Image) -> None:
    """Raises InvalidArgument for a nameless image."""
    if not image.name:
        raise InvalidArgument("Image.Name required")


def validate_image(image: Image) -> None:
    """Raises InvalidArgument for labels, digest, size, media type or annotations."""
    validate_labels(image.labels, "image.Labels")
    target = image.target
    reason = check_digest(target.digest)
    if reason is not None:
        raise InvalidArgument(
            f'Target.Digest "{target.digest}" invalid: {reason}: invalid argument'
        )
    if target.size <= 0:
        raise InvalidArgument("Target.Size must be greater than zero: invalid argument")
    if target.size > MAX_SIZE:
        raise InvalidArgument(
            f"Target.Size must not be greater than {MAX_SIZE}: invalid argument"
        )
    if not target.media_type:
        raise InvalidArgument("Target.MediaType must be set: invalid argument")
    if "" in target.annotations:
        raise InvalidArgument(
            "Target.Annotations: annotation key must not be empty: invalid argument"
        )


def normalized(image: Image) -> Image:
    """The image without empty labels and annotations, which mean absent."""
    target = replace(image.target, annotations=without_empty(image.target.annotations))
    return replace(image, labels=without_empty(image.labels), target=target)
