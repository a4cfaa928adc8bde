# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The schedule as transcripts: what happened when, and when it looks next.

Times in a transcript are milliseconds. `-> 500` says that the policy wants to look
at 500 ms next, `-> never` that only an event can change that.
"""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.gc_policy.policy import LEAST_MEAN, Policy, Settings

QUIET = Settings(startup_delay=0)


def replay(settings: Settings, transcript: str) -> Policy:
    """Run a transcript: `<ms> <event> [argument] -> <ms of the next look>`.

    Events: `mutated`, `deleted`, `requested`, `expires MS`, `due yes|no`, `begin`,
    `succeeded PAUSE`, `failed`, `look`.
    """
    policy = Policy(settings, 0.0)
    for number, line in enumerate(transcript.strip().splitlines(), 1):
        left, _, expected = line.strip().partition("->")
        at, event, *argument = left.split()
        now = float(at) / 1000
        match event:
            case "mutated":
                policy.mutated(now, dirty=False)
            case "deleted":
                policy.mutated(now, dirty=True)
            case "requested":
                policy.requested(now)
            case "expires":
                policy.expires(float(argument[0]) / 1000)
            case "due":
                assert policy.due(now) is (argument[0] == "yes"), (number, line)
            case "begin":
                policy.begin()
            case "succeeded":
                policy.succeeded(now, float(argument[0]) / 1000)
            case "failed":
                policy.failed(now)
            case "look":
                pass
            case other:
                raise AssertionError(f"line {number}: {other!r}")
        if expected:
            wake = policy.wake_at
            shown = "never" if wake is None else f"{wake * 1000:.6g}"
            assert shown == expected.strip(), f"line {number}: {line}"
    return policy


def test_the_defaults_are_the_documented_ones() -> None:
    assert Settings() == Settings(
        pause_threshold=0.02,
        deletion_threshold=0,
        mutation_threshold=100,
        schedule_delay=0.0,
        startup_delay=0.1,
    )


@pytest.mark.parametrize(
    ("given_", "kept"), [(-1.0, 0.0), (0.7, 0.5), (math.nan, 0.0), (0.25, 0.25)]
)
def test_the_pause_threshold_is_clamped(given_: float, kept: float) -> None:
    assert Settings(pause_threshold=given_).pause_threshold == kept


def test_negative_counts_and_delays_count_as_zero() -> None:
    settings = Settings(
        deletion_threshold=-1,
        mutation_threshold=-1,
        schedule_delay=-1.0,
        startup_delay=-1.0,
    )
    assert settings.deletion_threshold == settings.mutation_threshold == 0
    assert settings.schedule_delay == settings.startup_delay == 0


def test_the_first_collection_comes_after_the_startup_delay() -> None:
    replay(
        Settings(),
        """
          0 look -> 100
         99 due no
        100 due yes
        """,
    )


def test_without_a_startup_delay_nothing_is_scheduled_by_itself() -> None:
    replay(QUIET, "0 look -> never")


def test_a_deletion_waits_for_the_next_tick() -> None:
    # 10 ms of pause at 2 % make ticks 490 ms apart.
    replay(
        Settings(),
        """
        100 due yes
        100 begin
        110 succeeded 10 -> never
        120 deleted -> 600
        599 due no
        600 due yes
        """,
    )


def test_ticks_with_nothing_to_do_keep_their_grid() -> None:
    # Ticks at 600, 1090, 1580, 2070: as if each had been waited for and skipped.
    replay(
        Settings(),
        """
         100 begin
         110 succeeded 10 -> never
        1600 mutated -> never
        1700 deleted -> 2070
        """,
    )


def test_a_tick_with_too_few_mutations_is_skipped() -> None:
    replay(
        Settings(mutation_threshold=3),
        """
        100 begin
        110 succeeded 10 -> never
        120 mutated -> never
        130 mutated -> never
        610 due no
        620 mutated -> 1090
        """,
    )


def test_mutations_never_collect_when_their_threshold_is_zero() -> None:
    lines = ["100 begin", "110 succeeded 10"]
    lines += [f"{200 + n} mutated -> never" for n in range(300)]
    replay(Settings(mutation_threshold=0), "\n".join(lines))


def test_reaching_the_deletion_threshold_does_not_wait_for_the_tick() -> None:
    replay(
        Settings(deletion_threshold=3, schedule_delay=0.02),
        """
        100 begin
        110 succeeded 10 -> never
        120 deleted -> 600
        130 deleted -> 600
        140 deleted -> 160
        150 deleted -> 160
        """,
    )


def test_unscheduled_a_burst_of_mutations_starts_a_collection() -> None:
    replay(
        Settings(startup_delay=0, mutation_threshold=3),
        """
        10 mutated -> never
        20 mutated -> never
        30 mutated -> 30
        30 due yes
        """,
    )


def test_unscheduled_a_deletion_starts_a_collection() -> None:
    replay(QUIET, "10 deleted -> 10")


def test_a_request_comes_after_the_schedule_delay() -> None:
    replay(Settings(startup_delay=0, schedule_delay=0.05), "10 requested -> 60")


def test_a_request_never_postpones_an_earlier_collection() -> None:
    replay(Settings(schedule_delay=0.05), "80 requested -> 100")


def test_requests_do_not_push_each_other_back() -> None:
    replay(
        Settings(startup_delay=0, schedule_delay=0.05),
        """
        10 requested -> 60
        30 requested -> 60
        """,
    )


def test_what_happens_during_a_collection_counts_for_the_next() -> None:
    policy = replay(
        Settings(),
        """
        100 begin
        105 deleted
        110 succeeded 10 -> 600
        """,
    )
    assert policy.deletions == 1


def test_a_request_during_a_collection_is_served_by_the_next() -> None:
    replay(
        Settings(),
        """
        100 begin
        105 requested
        110 succeeded 10 -> 110
        110 due yes
        """,
    )


def test_a_success_forgets_what_it_was_for() -> None:
    policy = replay(
        QUIET,
        """
        10 deleted
        10 requested
        10 begin
        20 succeeded 1 -> never
        """,
    )
    assert (policy.deletions, policy.mutations, policy.trigger) == (0, 0, False)


def test_a_pause_too_short_to_measure_counts_as_five_milliseconds() -> None:
    policy = replay(
        Settings(),
        """
        100 begin
        100 succeeded 0
        200 deleted -> 345
        """,
    )
    assert policy.interval == pytest.approx(0.245)


def test_without_a_pause_threshold_ticks_are_a_second_apart() -> None:
    replay(
        Settings(pause_threshold=0),
        """
        100 begin
        200 succeeded 90
        300 deleted -> 1200
        """,
    )


def test_one_long_pause_is_forgotten() -> None:
    policy = Policy(Settings(), 0.0)
    policy.succeeded(0.0, 10.0)
    assert policy.interval == pytest.approx(490)
    for n in range(80):
        policy.succeeded(float(n), 0.001)
    assert policy.interval < 1


def test_the_mean_of_the_first_few_pauses_is_the_plain_mean() -> None:
    policy = Policy(Settings(), 0.0)
    for pause in (0.01, 0.02, 0.06):
        policy.succeeded(0.0, pause)
    assert policy.mean_pause == pytest.approx(0.03)


def test_a_failure_is_retried_after_the_previous_distance_and_a_second() -> None:
    # The failed run was due 490 ms after the one before.
    replay(
        Settings(),
        """
         100 begin
         110 succeeded 10
         200 deleted -> 600
         600 begin
         620 failed -> 2110
        2110 begin
        2130 failed -> 4620
        """,
    )


def test_a_failed_request_is_retried_after_a_second() -> None:
    replay(
        Settings(),
        """
        100 begin
        110 succeeded 10
        110 requested -> 110
        110 begin
        120 failed -> 1120
        """,
    )


def test_a_change_during_a_collection_does_not_delay_its_retry() -> None:
    replay(
        Settings(),
        """
        100 begin
        110 succeeded 10
        110 requested -> 110
        110 begin
        115 mutated
        120 failed -> 1120
        """,
    )


def test_a_failure_after_an_idle_hour_is_not_retried_after_another_hour() -> None:
    replay(
        Settings(),
        """
            100 begin
            110 succeeded 10
        3600000 requested -> 3.6e+06
        3600000 begin
        3600010 failed -> 3.6015e+06
        """,
    )


def test_a_failure_of_the_first_run_does_not_start_the_next_at_once() -> None:
    replay(
        Settings(),
        """
        100 begin
        110 failed -> 1110
        """,
    )


def test_failures_are_at_most_a_minute_apart() -> None:
    policy = Policy(Settings(), 0.0)
    now = 0.1
    for _ in range(100):
        policy.begin()
        policy.failed(now)
        assert policy.wake_at is not None
        assert 0 < policy.wake_at - now <= 60
        now = policy.wake_at
    assert policy.wake_at == pytest.approx(now)


def test_a_failure_keeps_what_the_collection_was_for() -> None:
    policy = replay(
        QUIET,
        """
        10 deleted
        10 requested
        10 begin
        15 mutated
        20 failed
        """,
    )
    assert (policy.deletions, policy.mutations, policy.trigger) == (1, 2, True)


def test_changes_do_not_shorten_the_wait_after_a_failure() -> None:
    replay(
        Settings(deletion_threshold=1, startup_delay=0),
        """
        10 requested
        10 begin
        20 failed -> 1020
        30 deleted -> 1020
        40 mutated -> 1020
        """,
    )


def test_a_request_shortens_the_wait_after_a_failure() -> None:
    replay(
        QUIET,
        """
         10 requested
         10 begin
         20 failed -> 1020
        500 requested -> 500
        """,
    )


def test_an_expiry_counts_as_a_deletion() -> None:
    replay(
        Settings(),
        """
         100 begin
         110 succeeded 10
         120 expires 1000 -> 1000
         999 due no
        1000 due no -> 1090
        1090 due yes
        """,
    )


def test_an_expiry_needs_no_schedule() -> None:
    replay(
        Settings(startup_delay=0, deletion_threshold=5),
        """
         10 expires 500 -> 500
        500 due yes
        """,
    )


def test_an_expiry_that_is_told_again_counts_once() -> None:
    policy = replay(
        Settings(deletion_threshold=3),
        """
        100 begin
        110 succeeded 10
        120 expires 115
        120 due no
        130 expires 115
        130 due no
        140 expires 115
        140 due no -> 600
        """,
    )
    assert policy.deletions == 1


@pytest.mark.parametrize(
    ("transcript", "reason"),
    [
        ("0 look", "the first collection after start"),
        ("100 begin\n110 succeeded 1", "nothing changed since the last collection"),
        ("100 begin\n110 succeeded 1\n120 mutated", "1 of 100 mutations, no deletion"),
        (
            "100 begin\n110 succeeded 1\n120 deleted",
            "1 deletion since the last collection",
        ),
        ("100 begin\n110 succeeded 1\n120 requested", "a collection was requested"),
        (
            "100 begin\n110 succeeded 1\n120 expires 900",
            "nothing to do before the next expiry",
        ),
        (
            "10 requested\n100 begin\n110 failed",
            "a collection was requested; trying again after a failure",
        ),
    ],
)
def test_the_reason_says_what_it_waits_for(transcript: str, reason: str) -> None:
    assert replay(Settings(), transcript).reason == reason


def test_the_reason_names_the_mutations_that_suffice() -> None:
    policy = replay(
        Settings(mutation_threshold=2),
        "100 begin\n110 succeeded 1\n120 mutated\n130 mutated",
    )
    assert policy.reason == "2 mutations since the last collection"


# --- whatever happens

EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["mutated", "deleted", "requested", "expires"]),
        st.floats(min_value=0, max_value=3),
    ),
    max_size=40,
)
SETTINGS = st.builds(
    Settings,
    pause_threshold=st.floats(min_value=0, max_value=0.5),
    deletion_threshold=st.integers(0, 4),
    mutation_threshold=st.integers(0, 4),
    schedule_delay=st.floats(min_value=0, max_value=0.2),
    startup_delay=st.floats(min_value=0, max_value=0.5),
)
PAUSE = 0.003


def simulate(
    settings: Settings, events: list[tuple[str, float]]
) -> tuple[list[float], list[float], Policy]:
    """Play events (with the seconds before each) against collections that last PAUSE.

    Returns when collections began, when one was requested, and the policy at rest.
    """
    policy = Policy(settings, 0.0)
    now = 0.0
    begun: list[float] = []
    asked: list[float] = []

    def run_until(end: float) -> None:
        nonlocal now
        for _ in range(100_000):
            wake = policy.wake_at
            if wake is None or wake > end:
                now = max(now, end)
                return
            now = max(now, wake)
            if policy.due(now):
                begun.append(now)
                policy.begin()
                now += PAUSE
                policy.succeeded(now, PAUSE)
        raise AssertionError("it looks without end")

    for what, after in events:
        run_until(now + after)
        if what == "requested":
            asked.append(now)
            policy.requested(now)
        elif what == "expires":
            policy.expires(now + after / 2)
        else:
            policy.mutated(now, dirty=what == "deleted")
    run_until(now + 1e6)
    return begun, asked, policy


@given(SETTINGS, EVENTS)
def test_a_request_is_served_within_the_schedule_delay(
    settings: Settings, events: list[tuple[str, float]]
) -> None:
    begun, asked, _ = simulate(settings, events)
    for at in asked:
        limit = at + settings.schedule_delay + PAUSE + 1e-9
        assert any(at <= start <= limit for start in begun)


@given(SETTINGS, EVENTS)
def test_no_deletion_is_forgotten(
    settings: Settings, events: list[tuple[str, float]]
) -> None:
    begun, _, policy = simulate(settings, events)
    if begun or settings.deletion_threshold == 0:
        assert policy.deletions == 0
    assert not policy.trigger
    assert policy.wake_at is None


@given(SETTINGS, EVENTS)
def test_unasked_collections_keep_their_distance(
    settings: Settings, events: list[tuple[str, float]]
) -> None:
    calm = [event for event in events if event[0] != "requested"]
    if settings.deletion_threshold:
        return
    begun, _, policy = simulate(settings, calm)
    for earlier, later in itertools.pairwise(begun):
        assert later - earlier >= policy.interval - 1e-6


@given(st.floats(min_value=0.001, max_value=0.5))
def test_pauses_stay_below_their_share(share: float) -> None:
    # A deletion at every moment: collections as often as ticks come.
    policy = Policy(Settings(pause_threshold=share), 0.0)
    pause = 2 * LEAST_MEAN
    now = paused = 0.0
    for _ in range(50):
        policy.mutated(now, dirty=True)
        wake = policy.wake_at
        assert wake is not None
        now = max(now, wake)
        policy.begin()
        now += pause
        paused += pause
        policy.succeeded(now, pause)
    assert policy.wake_at is None
    assert paused <= (now + policy.interval) * share * 1.0001
