# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a histogram says of quantiles. Apart from `figures`, since pluggctl needs this
alone and does not import msgspec.
"""

from __future__ import annotations

from collections.abc import Sequence


def quantile(
    bounds: Sequence[float], counts: Sequence[int], share: float
) -> tuple[bool, float]:
    """A bound that this share (0 to 1) of the observations did not exceed.

    (True, the last bound) when so many did; (False, 0.0) when there were none.
    """
    wanted = share * sum(counts)
    seen = 0
    for bound, count in zip(bounds, counts, strict=False):
        seen += count
        if seen and seen >= wanted:
            return False, bound
    return (True, bounds[-1]) if seen < sum(counts) and bounds else (False, 0.0)
