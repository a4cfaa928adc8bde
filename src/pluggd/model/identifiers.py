# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The rule for identifiers: namespaces, containers, parts of event topics.

Taken from containerd's `identifiers` package, so that names move freely between
the two: letters and digits, joined by single dots, dashes or underscores, at
most 76 bytes (a name plus a suffix must still fit a DNS label or a cgroup path).
"""

from __future__ import annotations

import re
from functools import lru_cache

from pluggd.errors import InvalidArgument

MAX_LENGTH = 76
PATTERN = r"^[A-Za-z0-9]+(?:[._-](?:[A-Za-z0-9]+))*$"

_match = re.compile(PATTERN[:-1] + r"\Z").match


@lru_cache(maxsize=1024)
def validate_identifier(value: str) -> None:
    """Raises InvalidArgument naming the value and the rule."""
    if not value:
        raise InvalidArgument("identifier must not be empty: invalid argument")
    if len(value.encode("utf-8", "surrogateescape")) > MAX_LENGTH:
        raise InvalidArgument(
            f'identifier "{value}" greater than maximum length '
            f"({MAX_LENGTH} characters): invalid argument"
        )
    if not _match(value):
        raise InvalidArgument(
            f'identifier "{value}" must match {PATTERN}: invalid argument'
        )


def validate_namespace(value: str) -> None:
    """As `validate_identifier`, with the words that a namespace's user expects."""
    try:
        validate_identifier(value)
    except InvalidArgument as error:
        raise InvalidArgument(f"namespace validation: {error}") from None
