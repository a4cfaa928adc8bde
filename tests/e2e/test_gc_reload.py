# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Options of collection change while it runs: a signal, and the running policy has them."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import trio

from pluggd.client import Client
from pluggd.model.types import Descriptor
from pluggd.services.images import Image
from pluggd.testing import RunningDaemon, running_daemon

SCHEDULER = "pluggd.gc.v1.scheduler"
WATERMARK = "pluggd.gc.v1.watermark"
TARGET = Descriptor(media_type="application/x", digest=f"sha256:{'a' * 64}", size=1)

NEVER = f"""
[plugins."{SCHEDULER}"]
startup_delay = "0ms"
schedule_delay = "1h"
deletion_threshold = 1000
mutation_threshold = 1000
"""

AT_ONCE = NEVER.replace("1h", "0ms").replace(
    "deletion_threshold = 1000", "deletion_threshold = 3"
)

LOW = f"""
[select]
gc = "watermark"
[plugins."{WATERMARK}"]
start_below = "0%"
stop_above = "0%"
check_interval = "1h"
"""

HIGH = LOW.replace('"0%"', '"100%"')


async def change(client: Client, start: int) -> None:
    """Three deletions, one after the other."""
    for number in range(start, start + 3):
        await client.images.create(image=Image(name=f"{number}", target=TARGET))
        await client.images.delete(name=f"{number}")


async def until_collected(client: Client) -> None:
    while not (await client.gc.status()).collections:  # noqa: ASYNC110 - of a process
        await trio.sleep(0.01)


async def hang_up(daemon: RunningDaemon, client: Client, uri: str, text: str) -> None:
    """Reload by a signal, and wait until the plugin shows it: it tells its options."""
    before = (await client.introspection.plugin(uri=uri)).exports
    (daemon.log_file.parent / "config.toml").write_text(text)
    daemon.kill(signal.SIGHUP)
    while (await client.introspection.plugin(uri=uri)).exports == before:  # noqa: ASYNC110
        await trio.sleep(0.01)


@pytest.mark.parametrize(
    ("uri", "before", "after"),
    [(SCHEDULER, NEVER, AT_ONCE), (WATERMARK, LOW, HIGH)],
    ids=["scheduler", "watermark"],
)
async def test_a_signal_gives_the_running_policy_its_options(
    tmp_path: Path, uri: str, before: str, after: str
) -> None:
    with trio.fail_after(60):
        async with (
            running_daemon(tmp_path, before, subprocess=True) as daemon,
            daemon.client(namespace="one") as client,
        ):
            await change(client, 0)
            status = await client.gc.status()
            # What was counted before counts by what holds now.
            assert status.collections == 0
            assert status.deletions >= 3
            since = (await client.introspection.plugin(uri=uri)).since
            await hang_up(daemon, client, uri, after)
            await until_collected(client)
            # It was not started anew.
            assert (await client.introspection.plugin(uri=uri)).since == since
