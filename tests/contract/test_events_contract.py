# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The contract of `pluggd.events.v1`, on the log over each metadata store."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio

from pluggd.services.metadata import METADATA
from plugins.events.config import Config
from plugins.events.registration import pluggd_register
from tests.contract.events_suite import SUITE, EventsStand
from tests.contract.one_plugin import started
from tests.contract.providers import PROVIDERS, metadata_of


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("promise", SUITE, ids=lambda promise: promise.__name__)
async def test_the_log_keeps_the_promise(
    promise: Callable[[EventsStand], Awaitable[None]], provider: str, tmp_path: Path
) -> None:
    with trio.fail_after(30):
        async with metadata_of(provider, tmp_path) as metadata:
            kinds = {METADATA: metadata}
            async with started(pluggd_register(), kinds, Config()) as (events, _):
                await promise(EventsStand(events, metadata))
