# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""When to try again, and how long to wait before. Pure."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Answers that may be others the next time."""

FIRST = 0.25
LONGEST = 15.0
"""Seconds between two attempts; it doubles from the one to the other."""


def backoff(attempt: int, jitter: float | None = None) -> float:
    """Seconds to wait after the attempt of this number, from 1.

    jitter: 0 to 1, random by default, so that many clients do not come back at once.
    """
    share = random.random() if jitter is None else jitter
    return float(min(LONGEST, FIRST * 2 ** (attempt - 1)) * (0.5 + share / 2))


def retry_after(header: str | None, now: datetime | None = None) -> float | None:
    """Seconds that `Retry-After` asks for; None when it says nothing readable."""
    if not header:
        return None
    text = header.strip()
    if text.isdigit() and len(text) < 10:
        return float(text)
    try:
        when = parsedate_to_datetime(text)
    except ValueError:
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return max(0.0, (when - (now or datetime.now(UTC))).total_seconds())
