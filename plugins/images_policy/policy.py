# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The image service with rules before it: what changes an image is looked at, everything
else is the decorated store's own method.

A pull, an import and a tag come through here as well: they create their images with this
service, in process.
"""

from __future__ import annotations

from collections.abc import Sequence

from pluggd.errors import NotFound, PermissionDenied
from pluggd.model.fieldmask import masked_map
from pluggd.services.images import Image, Images

from .rules import Rules

SECTION = 'plugins."pluggd.images.v1.policy"'


class PolicedImages:
    """An `Images` over another one. What is allowed to all, reading and deleting, is
    that one's method itself, so it is as quick, inline and encoded as there."""

    def __init__(self, images: Images, rules: Rules) -> None:
        self._images = images
        self.rules = rules
        self.refused = 0
        self.get = images.get
        self.list = images.list
        self.delete = images.delete

    async def create(self, *, image: Image) -> Image:
        self._check(image.name, image.labels)
        return await self._images.create(image=image)

    async def update(self, *, image: Image, fields: Sequence[str] = ()) -> Image:
        """Under the rules is the image as it would be.

        Labels that the update does not name are those that are stored. Another update
        may change them in between, but only to what the rules allow.
        """
        labels = image.labels
        if fields:
            try:
                stored = (await self._images.get(name=image.name)).labels
            except NotFound:
                # The store says so, or what else is wrong with the request.
                stored = dict(self._good_labels(image.labels))
            labels = masked_map(stored, image.labels, fields, "labels")
        self._check(image.name, labels)
        return await self._images.update(image=image, fields=fields)

    def _good_labels(self, asked: dict[str, str]) -> dict[str, str]:
        """Labels as any image has them that was stored under these rules."""
        return {
            key: asked.get(key) or pattern
            for key, pattern in self.rules.required_labels.items()
        }

    def _check(self, name: str, labels: dict[str, str]) -> None:
        wrong = self.rules.wrong_name(name) or self.rules.wrong_labels(labels)
        if wrong is not None:
            self.refused += 1
            raise PermissionDenied(
                f'image "{name}": {wrong} ([{SECTION}]): permission denied'
            )
