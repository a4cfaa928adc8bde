# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What the server counts while it serves: plain integers, and nothing to turn on.

Whoever serves adds to these with the `+=` of its own line, since a call of a function
costs more than the addition. What is made of them is `pluggd.core.figures`' business.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from time import perf_counter_ns

from pluggd.model.figures import LATENCY

BOUNDS = tuple(round(bound * 1e9) for bound in LATENCY)
"""The bounds of `LATENCY` in ns, for `bisect_left`."""


class MethodStatistics:
    """Of one method as one plugin serves it, since the start of the daemon.

    counts: calls that are over, by duration; one more than `BOUNDS`. A call takes from
    its turn (`Statistics.turn`) to its answer in the outbox. nanoseconds: of all of them together. errors: by code.
    """

    __slots__ = ("counts", "errors", "in_flight", "name", "nanoseconds", "plugin")

    def __init__(self, name: str, plugin: str = "") -> None:
        self.name = name
        self.plugin = plugin
        self.counts = [0] * (len(BOUNDS) + 1)
        self.nanoseconds = 0
        self.in_flight = 0
        self.errors: Counter[str] = Counter()

    @property
    def calls(self) -> int:
        """Calls that are over."""
        return sum(self.counts)


class Statistics:
    """Of one server. Bytes are those of messages, without descriptors.

    errors: by code, also those that belong to no call. in_flight, streams and
    connections are of this moment, the others since the start. turn: when the turn of
    the next request began (`perf_counter_ns`): at the begin of a round of reading, and
    then with each answer that was given at once. So a clock is read once a request.
    """

    __slots__ = (
        "_methods",
        "accepted",
        "bytes_in",
        "bytes_out",
        "connections",
        "errors",
        "in_flight",
        "refused",
        "streams",
        "turn",
    )

    def __init__(self) -> None:
        self.errors: Counter[str] = Counter()
        self.in_flight = 0
        self.streams = 0
        self.connections = 0
        self.accepted = 0
        self.refused = 0
        self.bytes_in = 0
        self.bytes_out = 0
        self.turn = 0
        self._methods: dict[tuple[str, str], MethodStatistics] = {}

    def method(self, name: str, plugin: str = "") -> MethodStatistics:
        """Those of a method; made at the first call, and kept when its provider goes."""
        key = (name, plugin)
        found = self._methods.get(key)
        if found is None:
            found = self._methods[key] = MethodStatistics(name, plugin)
        return found

    def served(self, method: MethodStatistics) -> None:
        """Count a request that was answered at once; the next one begins now."""
        now = perf_counter_ns()
        took = now - self.turn
        method.counts[bisect_left(BOUNDS, took)] += 1
        method.nanoseconds += took
        self.turn = now

    def methods(self) -> list[MethodStatistics]:
        """Those that were ever served, by name."""
        return [self._methods[key] for key in sorted(self._methods)]

    @property
    def requests(self) -> int:
        """Requests that came, also those that are in flight or were refused."""
        return sum(one.calls + one.in_flight for one in self._methods.values())
