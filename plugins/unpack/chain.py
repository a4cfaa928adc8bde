# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Chain IDs: the names of layers together with all below them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence


def chain_ids(diff_ids: Sequence[str]) -> list[str]:
    """The chain ID of each layer, from the lowest up."""
    found: list[str] = []
    for diff_id in diff_ids:
        if not found:
            found.append(diff_id)
            continue
        both = f"{found[-1]} {diff_id}".encode()
        found.append(f"sha256:{hashlib.sha256(both).hexdigest()}")
    return found
