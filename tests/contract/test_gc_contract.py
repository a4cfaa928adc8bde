# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The contract of `pluggd.gc.v1`, on the scheduler over each metadata store."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio

from pluggd.services.metadata import METADATA
from plugins.gc_policy.config import Config
from plugins.gc_policy.registration import pluggd_register
from tests.contract.gc_suite import SUITE, GcStand, gc_stand
from tests.contract.one_plugin import started
from tests.contract.providers import PROVIDERS, metadata_of

QUICK = Config(startup_delay="0ms", deletion_threshold=100)


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("promise", SUITE, ids=lambda promise: promise.__name__)
async def test_the_scheduler_keeps_the_promise(
    promise: Callable[[GcStand], Awaitable[None]], provider: str, tmp_path: Path
) -> None:
    with trio.fail_after(30):
        async with metadata_of(provider, tmp_path) as metadata:
            kinds = {METADATA: metadata}
            async with started(pluggd_register(), kinds, QUICK) as (gc, _):
                await promise(gc_stand(gc, metadata))


async def test_the_options_are_shown_as_they_count(tmp_path: Path) -> None:
    config = Config(pause_threshold=0.9, schedule_delay="-1s", startup_delay="1500ms")
    async with metadata_of("memory", tmp_path) as metadata:
        kinds = {METADATA: metadata}
        async with started(pluggd_register(), kinds, config) as (_, context):
            assert context.exports == {
                "pause_threshold": "0.5",
                "deletion_threshold": "0",
                "mutation_threshold": "100",
                "schedule_delay": "0s",
                "startup_delay": "1.5s",
                "full_interval": "24h",
            }
