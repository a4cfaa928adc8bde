# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Collection by free space: the decision as a table, the task with a disk that the test
fills, the contract, and a daemon that is told to use it."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ClassVar

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from pluggd.errors import InvalidArgument, Unavailable
from pluggd.model.types import Descriptor
from pluggd.services.gc import Gc
from pluggd.services.images import Image
from pluggd.services.metadata import METADATA, CollectStats, Metadata
from pluggd.testing import running_daemon, started
from pluggd.testing.conformance.gc import GcConformance
from plugins.gc_watermark.config import Config, settings
from plugins.gc_watermark.policy import Job, Mark, Policy, Settings
from plugins.gc_watermark.registration import pluggd_register
from plugins.gc_watermark.watcher import Watcher
from tests.contract.providers import PROVIDERS, metadata_of


class TestWatermark(GcConformance):
    lacks: ClassVar[Mapping[str, str]] = {
        "expiry": "what has expired goes when space is short, or with max_interval"
    }

    @pytest.fixture(params=PROVIDERS)
    async def metadata(
        self, request: pytest.FixtureRequest, tmp_path: Path
    ) -> AsyncGenerator[Metadata]:
        async with metadata_of(request.param, tmp_path) as metadata:
            yield metadata

    @pytest.fixture
    async def gc(self, metadata: Metadata, tmp_path: Path) -> AsyncGenerator[Gc]:
        config = Config(start_below="0%", stop_above="0%")
        kinds = {METADATA: metadata}
        async with started(pluggd_register(), kinds, config, tmp_path) as (gc, _):
            yield gc


# --- the decision

MARKS = Settings(
    Mark(percent=10), Mark(percent=20), check_interval=30, max_interval=1000, batch=5
)


def measured(free: int, made: Settings = MARKS) -> Policy:
    policy = Policy(made, 0)
    policy.measured(0, free, 100)
    return policy


def test_it_begins_below_one_mark_and_ends_above_the_other() -> None:
    policy = measured(10)
    assert policy.job(0) is None
    policy.measured(30, 9, 100)
    job = policy.job(30)
    assert job is not None
    assert job == Job("9 bytes are free: below 10, until 20", limit=5)
    policy.begin(job)
    policy.done(31, job, more=True)
    policy.measured(31, 15, 100)
    assert policy.job(31) is not None
    policy.measured(32, 20, 100)
    assert policy.job(32) is None
    assert policy.reason == "20 bytes are free; begins below 10"
    policy.measured(33, 15, 100)
    assert policy.job(33) is None


def test_when_nothing_is_left_it_waits_for_a_deletion() -> None:
    policy = measured(5)
    job = policy.job(0)
    assert job is not None
    policy.begin(job)
    policy.done(1, job, more=False)
    policy.measured(31, 5, 100)
    assert policy.job(31) is None
    assert policy.reason == "5 of 20 bytes are free, and nothing is left"
    policy.changed(dirty=False)
    assert policy.job(31) is None
    policy.changed(dirty=True)
    assert policy.job(31) is not None


def test_what_is_kept_for_a_while_is_tried_again_at_the_next_look() -> None:
    made = Settings(Mark(size=10), Mark(size=20), 30, keep_for=100, max_interval=1000)
    policy = measured(5, made)
    job = policy.job(0)
    assert job is not None
    assert job.keep_for == 100
    policy.begin(job)
    policy.done(1, job, more=False)
    assert policy.job(2) is None
    assert policy.wake_at == 31
    policy.measured(31, 5, 100)
    assert policy.job(31) is not None


def test_the_hard_cap_takes_everything() -> None:
    policy = measured(100, Settings(Mark(size=1), Mark(size=1), keep_for=1e6))
    assert policy.job(86399) is None
    job = policy.job(86400)
    assert job is not None
    assert (job.limit, job.keep_for) == (0, 0)
    policy.begin(job)
    policy.done(86400, job, more=False)
    assert policy.job(86401) is None


def test_a_request_is_for_everything_and_at_once() -> None:
    policy = measured(100)
    policy.requested()
    job = policy.job(0)
    assert job is not None
    assert job.whole
    policy.begin(job)
    policy.requested()
    policy.done(1, job, more=False)
    assert policy.job(1) is not None


def test_a_failure_is_tried_again_at_the_next_look_and_counts_on() -> None:
    policy = measured(100)
    policy.changed(dirty=True)
    policy.requested()
    job = policy.job(0)
    assert job is not None
    policy.begin(job)
    policy.failed(0, job, (1, 1))
    assert policy.deletions == 1
    assert policy.job(29) is None
    again = policy.job(30)
    assert again is not None
    assert again.whole


@pytest.mark.parametrize(
    ("text", "mark"),
    [
        ("10%", Mark(percent=10)),
        ("5GB", Mark(size=5 * 10**9)),
        ("1.5 GiB", Mark(size=3 * 2**29)),
        ("4096", Mark(size=4096)),
        ("2k", Mark(size=2000)),
    ],
)
def test_a_mark_is_a_share_or_a_size(text: str, mark: Mark) -> None:
    assert settings(Config(start_below=text)).start_below == mark


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("start_below", "much"),
        ("stop_above", "101%"),
        ("keep_for", "soon"),
        ("check_interval", "0s"),
        ("batch", 0),
    ],
)
def test_a_wrong_option_is_named(key: str, value: object) -> None:
    with pytest.raises(InvalidArgument, match=f"^{key}"):
        Config(**{key: value})  # type: ignore[arg-type]


# --- the task


class Disk:
    """A disk of 1000 bytes on which each of `garbage` objects takes ten."""

    def __init__(self, garbage: int, free: int) -> None:
        self.garbage, self.free = garbage, free
        self.jobs: list[tuple[int, float]] = []
        self.broken = False

    def space(self) -> tuple[int, int]:
        return self.free, 1000

    async def collect(
        self, *, full: bool = False, limit: int = 0, keep_for: float = 0
    ) -> CollectStats:
        await trio.lowlevel.checkpoint()
        self.jobs.append((limit, keep_for))
        if self.broken:
            raise Unavailable("the disk is on fire: unavailable")
        count = min(limit or self.garbage, self.garbage)
        self.garbage -= count
        self.free += 10 * count
        return CollectStats(removed={"x": count}, more=self.garbage > 0)


@asynccontextmanager
async def watching(disk: Disk, made: Settings) -> AsyncGenerator[Watcher]:
    log = logging.LoggerAdapter(logging.getLogger("test"), {})
    async with trio.open_nursery() as nursery:
        watcher = Watcher(disk, made, disk.space, log)
        nursery.start_soon(watcher.run_forever)
        await wait_all_tasks_blocked()
        yield watcher
        nursery.cancel_scope.cancel()


async def test_it_collects_in_parts_until_there_is_room() -> None:
    disk = Disk(garbage=50, free=90)
    async with watching(disk, MARKS) as watcher:
        assert disk.free == 240
        assert disk.jobs == [(5, 0)] * 3
        assert "begins below 100" in watcher.status().reason
        assert watcher.status().collections == 3


async def test_it_looks_again_after_a_while(autojump_clock: MockClock) -> None:
    disk = Disk(garbage=50, free=500)
    async with watching(disk, MARKS):
        assert disk.jobs == []
        disk.free = 50
        await trio.sleep(31)
        assert disk.free == 200


async def test_whoever_waits_gets_everything_collected() -> None:
    disk = Disk(garbage=50, free=500)
    async with watching(disk, MARKS) as watcher:
        stats = await watcher.collect()
        assert stats.removed == {"x": 50}


async def test_a_failure_is_told_shown_and_tried_again(
    autojump_clock: MockClock,
) -> None:
    disk = Disk(garbage=50, free=500)
    disk.broken = True
    async with watching(disk, MARKS) as watcher:
        with pytest.raises(Unavailable, match="on fire"):
            await watcher.collect()
        assert "on fire" in watcher.status().last_error
        disk.broken = False
        await trio.sleep(31)
        assert disk.garbage == 0
        assert watcher.status().last_error == ""


async def test_other_marks_count_at_once() -> None:
    disk = Disk(garbage=50, free=500)
    async with watching(disk, MARKS) as watcher:
        watcher.reload(Settings(Mark(size=600), Mark(size=700), batch=10))
        await wait_all_tasks_blocked()
        assert disk.free == 700


# --- in a daemon

SELECT = '[select]\ngc = "watermark"\n'
TARGET = Descriptor(media_type="m", digest=f"sha256:{'a' * 64}", size=1)


async def test_a_daemon_uses_it_when_told_to(tmp_path: Path) -> None:
    with trio.fail_after(60):
        text = SELECT + '[plugins."pluggd.gc.v1.watermark"]\nstart_below = "0%"\n'
        async with (
            running_daemon(tmp_path, text) as daemon,
            daemon.client(namespace="default") as client,
        ):
            assert daemon.status("pluggd.gc.v1.scheduler") == "disabled"
            status = await client.gc.status()
            assert status.policy == "watermark"
            assert "begins below 0" in status.reason
            await client.images.create(image=Image(name="a", target=TARGET))
            await client.images.delete(name="a", sync=True)
            assert (await client.gc.status()).collections == 1
            (tmp_path / "config.toml").write_text(text.replace("0%", "100%"))
            change = await client.management.reload()
            assert [one.action for one in change.plugins] == ["reconfigure"]
            while (await client.gc.status()).collections < 2:  # noqa: ASYNC110 - any run
                await trio.sleep(0.001)
            (tmp_path / "config.toml").write_text("")
            await client.management.reload()
            assert (await client.gc.status()).policy == "scheduler"
