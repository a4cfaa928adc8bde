# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The rules for images, as an operator writes them."""

from __future__ import annotations

from pluggd.errors import InvalidArgument
from pluggd.model.record import Record

from .rules import Rules


class Config(Record, frozen=True):
    """Section `[plugins."pluggd.images.v1.policy"]` of config.toml."""

    allow: tuple[str, ...] = ("**",)
    """Repositories whose images may be stored, as in "ghcr.io/acme/*": host and path, where
    * stands for anything but / and ** for anything. "**" alone allows every name, also
    those that name no repository; an empty list allows none."""

    required_labels: dict[str, str] = {}
    """Labels that every image must have, and their values, as in
    { "org.example.owner" = "*" }: * in a value stands for anything."""

    def __post_init__(self) -> None:
        """Raises InvalidArgument naming the key."""
        for pattern in self.allow:
            if not pattern or "://" in pattern or pattern.startswith("/"):
                raise InvalidArgument(
                    f'allow: "{pattern}" must be host and path, as in "ghcr.io/acme/*":'
                    " invalid argument"
                )
        if "" in self.required_labels:
            raise InvalidArgument(
                "required_labels: a label has a name: invalid argument"
            )


def rules(config: Config) -> Rules:
    return Rules(config.allow, dict(config.required_labels))
