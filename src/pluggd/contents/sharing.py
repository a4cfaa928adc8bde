# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Whose blobs may be adopted by naming their digest."""

from __future__ import annotations

from collections.abc import Callable

from pluggd.contents.catalog import Shareable
from pluggd.errors import NotFound
from pluggd.services.metadata import Transaction
from pluggd.services.namespaces import Namespaces

SHAREABLE_LABEL = "containerd.io/namespace.shareable"


def sharing_rule(
    policy: str, find_namespaces: Callable[[], Namespaces | None]
) -> Shareable:
    """Under "shared" every namespace shares; otherwise those that carry the label."""
    if policy == "shared":
        return lambda txn, namespace: True

    def carries_label(txn: Transaction, namespace: str) -> bool:
        namespaces = find_namespaces()
        if namespaces is None:
            return False
        try:
            found = txn.run(namespaces.get(name=namespace))
        except NotFound:
            return False
        return found.labels.get(SHAREABLE_LABEL) == "true"

    return carries_label
