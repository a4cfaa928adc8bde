# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""How much an image may consist of, whoever describes it."""

from __future__ import annotations

from pluggd.errors import ResourceExhausted

MAX_DEPTH = 4
"""Indexes within indexes; one within one is the most that any tool makes."""

MAX_MANIFESTS = 1000
"""Manifests and indexes of a pull: a registry can name more than anybody can fetch."""


def check_depth(what: str, depth: int) -> None:
    """Raises ResourceExhausted, which names `what`."""
    if depth > MAX_DEPTH:
        raise ResourceExhausted(
            f"{what} has indexes within more than {MAX_DEPTH} others: resource exhausted"
        )


def check_count(what: str, manifests: int) -> None:
    """Raises ResourceExhausted, which names `what`."""
    if manifests > MAX_MANIFESTS:
        raise ResourceExhausted(
            f"{what} has more than {MAX_MANIFESTS} manifests: resource exhausted"
        )
