# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""When to collect: a state machine of events and times.

The caller says what happened and when, and asks when to look again. Nothing
here waits, reads a clock or removes anything, so a test of it is a table.
Times are seconds on any clock that never runs backwards.

The rules are those of containerd's scheduler, less what hurts there:

- It counts in ticks, `interval` apart, chosen so that pauses stay below a share
  of the time. A tick with nothing to do is not even waited for: an idle daemon sleeps.
- The mean pause is weighted towards the last eight, so that one long pause at
  the start does not slow all later ticks, as a mean over everything would.
- A change that comes while a collection runs counts for the next one.
- The passing of an expiry time counts as a deletion; containerd lets what has
  expired lie until somebody changes something.
- After a failure only a request shortens the wait. There, every change after the
  failure of a requested run would start the next attempt at once.
"""

from __future__ import annotations

import math

from pluggd.struct import Struct, settle

FIRST_INTERVAL = 1.0
"""Between ticks, until a pause was measured; and always when pauses do not count."""

LEAST_MEAN = 0.005
"""Shorter pauses count as this long: a clock too coarse to see a pause must not
make collections follow each other without end (containerd#5089)."""

MEMORY = 8
"""How many of the last collections the mean pause mostly depends on."""

LONGEST_INTERVAL = 3600.0
"""However small the share or long the pause, what was deleted goes within the hour."""

RETRY_STEP = 1.0
LONGEST_RETRY = 60.0


class Settings(Struct, frozen=True):
    """The five knobs, in seconds and counts. Values outside their range are clamped."""

    pause_threshold: float = 0.02
    deletion_threshold: int = 0
    mutation_threshold: int = 100
    schedule_delay: float = 0.0
    startup_delay: float = 0.1

    def __post_init__(self) -> None:
        share = self.pause_threshold
        share = 0.0 if math.isnan(share) else min(max(share, 0.0), 0.5)
        settle(self, "pause_threshold", share)
        for name in (
            "deletion_threshold",
            "mutation_threshold",
            "schedule_delay",
            "startup_delay",
        ):
            settle(self, name, max(getattr(self, name), 0))


class Policy:
    """Tell it `mutated`, `requested` and `expires`; at `wake_at` ask `due`; when that
    is True, `begin`, collect, and say `succeeded` or `failed`."""

    def __init__(self, settings: Settings, now: float) -> None:
        self.settings = settings
        self.interval = FIRST_INTERVAL
        self.mean_pause = 0.0
        self.deletions = 0
        self.mutations = 0
        self.trigger = False
        self._samples = 0
        self._last: float | None = None  # when the last collection ended
        self._expiry: float | None = None
        self._kept = (0, 0, False)  # what the running collection is for
        self._running = False
        self._retrying = False
        self._spacing = 0.0
        # The next tick. With a startup delay of zero nothing is scheduled at first.
        self._tick: float | None = None
        if settings.startup_delay > 0:
            self._tick = now + settings.startup_delay

    # --- what happened

    def mutated(self, now: float, *, dirty: bool) -> None:
        """Something was stored. dirty: it may have left something to collect."""
        self._skip_idle_ticks(now)
        self.mutations += 1
        if dirty:
            self.deletions += 1
        self._schedule(now)

    def requested(self, now: float) -> None:
        """Somebody asked for a collection."""
        self._skip_idle_ticks(now)
        self.trigger = True
        self._pull(now)

    def expires(self, at: float | None) -> None:
        """The time at which something expires next; None for nothing."""
        self._expiry = at

    def reload(self, settings: Settings, now: float) -> None:
        """Other settings, from now on; what counts already counts by them."""
        self.settings = settings
        self._skip_idle_ticks(now)
        self._schedule(now)

    # --- when to look

    @property
    def wake_at(self) -> float | None:
        """When to call `due`; None when only an event can change anything."""
        tick = self._tick if self._worthwhile() else None
        if tick is None or self._expiry is None:
            return self._expiry if tick is None else tick
        return min(tick, self._expiry)

    def due(self, now: float) -> bool:
        """Whether a collection should begin now."""
        if self._expiry is not None and self._expiry <= now:
            self._skip_idle_ticks(self._expiry)
            self._expiry = None  # the caller says which comes next
            self.deletions = max(self.deletions, 1)  # told again, it is still one
            self._schedule(now)
            if self._tick is None:  # no change may ever come to schedule it
                self._pull(now)
        return self._tick is not None and self._tick <= now and self._worthwhile()

    @property
    def reason(self) -> str:
        """What the next collection is for, or what it waits for."""
        if self.trigger:
            return "a collection was requested" + self._again()
        if self._tick is not None and self._last is None:
            return "the first collection after start"
        if self.deletions:
            return f"{_count(self.deletions, 'deletion')} since the last collection{self._again()}"
        threshold = self.settings.mutation_threshold
        if threshold and self.mutations >= threshold:
            return f"{_count(self.mutations, 'mutation')} since the last collection{self._again()}"
        if self._expiry is not None:
            return "nothing to do before the next expiry"
        if threshold and self.mutations:
            return f"{self.mutations} of {threshold} mutations, no deletion"
        return "nothing changed since the last collection"

    # --- how it went

    def begin(self) -> None:
        """The collection starts; what happens from here on is for the next one."""
        self._kept = (self.deletions, self.mutations, self.trigger)
        self.deletions = self.mutations = 0
        self.trigger = False
        self._running = True

    def succeeded(self, now: float, pause: float) -> None:
        """It is done. pause: the time in seconds in which writers had to wait."""
        self._running = False
        self._samples += 1
        weight = 1 / min(self._samples, MEMORY)
        self.mean_pause += (pause - self.mean_pause) * weight
        share = self.settings.pause_threshold
        if share > 0:
            mean = max(self.mean_pause, LEAST_MEAN)
            self.interval = min(mean / share - mean, LONGEST_INTERVAL)
        self._retrying = False
        self._spacing = self.interval
        self._last = now
        self._tick = now + self.interval
        self._schedule(now)
        if self.trigger:
            self._pull(now)

    def failed(self, now: float) -> None:
        """It did not work: try again after the previous distance and a second.

        What the collection was for still counts.
        """
        self._running = False
        deletions, mutations, trigger = self._kept
        late = self.trigger
        self.deletions += deletions
        self.mutations += mutations
        self.trigger = self.trigger or trigger
        distance = self.settings.schedule_delay
        if self._last is not None and self._tick is not None:
            # Not more than the regular distance: after an idle hour the next attempt
            # must not wait for another hour.
            distance = min(max(self._tick - self._last, 0.0), self._spacing)
        self._spacing = min(distance + RETRY_STEP, LONGEST_RETRY)
        self._retrying = True
        self._last = now
        self._tick = now + self._spacing
        if late:
            self._pull(now)

    # ---

    def _worthwhile(self) -> bool:
        """Whether a tick would collect."""
        if self.trigger or self.deletions or self._last is None or self._retrying:
            return True
        threshold = self.settings.mutation_threshold
        return 0 < threshold <= self.mutations

    def _skip_idle_ticks(self, now: float) -> None:
        """Move the tick past those that went by with nothing to do, on their grid."""
        if self._tick is None or self._tick > now:
            return
        if self._running or self._worthwhile():
            return
        missed = math.floor((now - self._tick) / self.interval) + 1
        self._tick += missed * self.interval

    def _schedule(self, now: float) -> None:
        """Pull the tick forward when a threshold asks for it."""
        if self._retrying:
            return
        settings = self.settings
        many_deletions = 0 < settings.deletion_threshold <= self.deletions
        unscheduled = self._tick is None and (
            (settings.deletion_threshold == 0 and self.deletions > 0)
            or 0 < settings.mutation_threshold <= self.mutations
        )
        if many_deletions or unscheduled:
            self._pull(now)

    def _pull(self, now: float) -> None:
        """Tick after `schedule_delay`, unless an earlier one is due already."""
        at = now + self.settings.schedule_delay
        if self._tick is None or self._tick > at:
            self._tick = at

    def _again(self) -> str:
        return "; trying again after a failure" if self._retrying else ""


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
