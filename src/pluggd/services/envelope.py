# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The envelope in which an event travels and is stored."""

from __future__ import annotations

from pluggd.model.record import Record
from pluggd.model.types import Any, Time


class Envelope(Record, frozen=True):
    """One event. `seq`: its place in the daemon's total order. `timestamp`: ns, UTC."""

    seq: int = 0
    timestamp: Time = 0
    namespace: str = ""
    topic: str = ""
    event: Any = Any()
