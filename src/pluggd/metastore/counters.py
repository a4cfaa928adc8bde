# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What the writer counts, for statistics. Plain numbers, since start."""

from __future__ import annotations

from pluggd.model.figures import Histogram
from pluggd.struct import Struct, field

SIZES = 10
"""Classes of group sizes: 1, 2, up to 4, up to 8, ..., up to 256, and more."""


class Counters(Struct):
    """Times in ns.

    batches: commits by the class of how many updates they had (`SIZES`). wait_time: from
    an update's submission to the begin of its function, summed; longest_wait: the
    longest one. handover_time: from giving a commit to the writer's thread to its first
    step there, summed over `handovers`. ran_in_thread: functions run in that thread.
    """

    commits: int = 0
    updates: int = 0
    largest_batch: int = 0
    commit_time: int = 0
    longest_commit: int = 0
    wait_time: int = 0
    longest_wait: int = 0
    handovers: int = 0
    handover_time: int = 0
    longest_handover: int = 0
    ran_in_thread: int = 0
    commit_times: Histogram = field(default_factory=Histogram)
    batches: list[int] = field(default_factory=lambda: [0] * SIZES)

    def committed(self, size: int, elapsed: int) -> None:
        """A commit of so many updates, which took so long."""
        self.commits += 1
        self.updates += size
        self.largest_batch = max(self.largest_batch, size)
        self.commit_time += elapsed
        self.commit_times.observe(elapsed / 1e9)
        self.longest_commit = max(self.longest_commit, elapsed)
        self.batches[min((size - 1).bit_length(), SIZES - 1)] += 1

    def waited(self, elapsed: int) -> None:
        """An update's function began so long after its submission."""
        self.wait_time += elapsed
        self.longest_wait = max(self.longest_wait, elapsed)

    def handed_over(self, elapsed: int) -> None:
        """The thread took up its work so long after it was given."""
        self.handovers += 1
        self.handover_time += elapsed
        self.longest_handover = max(self.longest_handover, elapsed)
