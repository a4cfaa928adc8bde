# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""When to collect and how much: free space and times in, a job out.

Nothing here waits, reads a clock, looks at a disk or removes anything, so a test of it
is a table. Times are seconds on any clock that never runs backwards, sizes are bytes.

What is deleted lies until there is need: free space falls below one mark, and then
goes, oldest first and part by part, until it is above another. keep_for is what the
marks may not take; the hard cap, max_interval, takes everything.
"""

from __future__ import annotations

from pluggd.struct import Struct


class Mark(Struct, frozen=True):
    """Free space: so many bytes, or such a share of the whole."""

    size: int = 0
    percent: float = 0.0

    def of(self, total: int) -> int:
        return self.size or int(total * self.percent / 100)


class Settings(Struct, frozen=True):
    """Seconds and counts. max_interval: 0 for never."""

    start_below: Mark
    stop_above: Mark
    check_interval: float = 30.0
    keep_for: float = 0.0
    max_interval: float = 86400.0
    batch: int = 100


class Job(Struct, frozen=True):
    """A collection. limit, keep_for: as in `Metadata.collect`."""

    why: str
    limit: int = 0
    keep_for: float = 0.0

    @property
    def whole(self) -> bool:
        return not self.limit and not self.keep_for


class Policy:
    """Tell it `measured`, `changed` and `requested`; do what `job` says, and say
    `done` or `failed`; at `wake_at` measure again and ask."""

    def __init__(self, settings: Settings, now: float) -> None:
        self.settings = settings
        self.free = self.total = 0
        self.changes = self.deletions = 0
        self.pressed = False
        self._asked = self._again = False
        self._measured = now
        self._whole_at = now
        self._more = True  # whether parts may find anything
        self._not_before = now

    # --- what happened

    def measured(self, now: float, free: int, total: int) -> None:
        """What the disk has now."""
        self.free, self.total = free, total
        self._measured = now
        start, stop = self.marks()
        if free < start:
            if not self.pressed:
                self._more = True
            self.pressed = True
        elif free >= stop:
            self.pressed = False

    def changed(self, *, dirty: bool) -> None:
        """Something was stored. dirty: it may have left something to collect."""
        self.changes += 1
        if dirty:
            self.deletions += 1
            self._more = True

    def requested(self) -> None:
        """Somebody asked for a whole collection."""
        self._asked = True

    def reload(self, settings: Settings) -> None:
        """Other settings, from the next look on."""
        self.settings = settings
        self._more = True

    # --- what to do

    def marks(self) -> tuple[int, int]:
        """Free bytes below which it begins, and from which on it ends."""
        start = self.settings.start_below.of(self.total)
        return start, max(start, self.settings.stop_above.of(self.total))

    def job(self, now: float) -> Job | None:
        """What to collect now, if anything."""
        if self._asked:
            return Job("a collection was requested")
        if now < self._not_before:
            return None
        if self._again:
            return Job("trying again after a failure")
        if self._cap_at() <= now:
            return Job("max_interval is over since the last whole collection")
        if self.pressed and self._more:
            start, stop = self.marks()
            why = f"{self.free} bytes are free: below {start}, until {stop}"
            return Job(why, self.settings.batch, self.settings.keep_for)
        return None

    @property
    def wake_at(self) -> float:
        """When to measure again."""
        look = self._measured + self.settings.check_interval
        return max(min(look, self._cap_at()), self._not_before)

    @property
    def reason(self) -> str:
        """What it does, or waits for."""
        start, stop = self.marks()
        if self._asked:
            return "a collection was requested"
        if self._again:
            return "trying again after a failure"
        if self.pressed and self._more:
            return f"{self.free} bytes are free: below {start}, until {stop}"
        if self.pressed:
            kept = " but for what keep_for keeps" if self.settings.keep_for else ""
            return f"{self.free} of {stop} bytes are free, and nothing is left{kept}"
        return f"{self.free} bytes are free; begins below {start}"

    def _cap_at(self) -> float:
        interval = self.settings.max_interval
        return self._whole_at + interval if interval > 0 else float("inf")

    # --- how it went

    def begin(self, job: Job) -> None:
        """The collection starts; what comes from here on is for the next one."""
        self.changes = self.deletions = 0
        if job.whole:
            self._asked = self._again = False

    def done(self, now: float, job: Job, *, more: bool) -> None:
        """It is over. more: it ended at its limit."""
        if job.whole:
            self._whole_at = now
        elif not self.deletions:
            self._more = more
        if not more and self.settings.keep_for:
            # What is kept grows old without anybody's doing: the next look tries again.
            self._more = self._more or self.pressed
            self._not_before = now + self.settings.check_interval

    def failed(self, now: float, job: Job, count: tuple[int, int]) -> None:
        """It did not work; the next look tries again. count: changes and deletions
        that it was for."""
        self.changes += count[0]
        self.deletions += count[1]
        self._again = self._again or job.whole
        self._more = True
        self._not_before = now + self.settings.check_interval
