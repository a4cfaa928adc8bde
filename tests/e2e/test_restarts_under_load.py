# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Every plugin of a daemon under load is restarted in turn: calls fail only as
`unavailable`, what was acknowledged is there, and no event is lost or told twice."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import trio

from pluggd.client import Client
from pluggd.errors import AlreadyExists, NotFound, Unavailable
from pluggd.model.types import Descriptor
from pluggd.services import call
from pluggd.services.daemon import DAEMON
from pluggd.services.images import Image
from pluggd.testing import RunningDaemon, running_daemon

TARGET = Descriptor(media_type="application/x", digest=f"sha256:{'a' * 64}", size=1)
WRITERS = 4

pytestmark = pytest.mark.slow


SECOND = """
[select]
events = "memory"
gc = "watermark"
[decorate]
images = ["policy"]
"""
"""Every second implementation in place of the first."""


class Load:
    """Clients that go on. durable: whether events outlive a restart. made: names whose creation was acknowledged. failed: calls
    that were answered `unavailable`, by the plugin that was restarted just then."""

    def __init__(self, durable: bool) -> None:
        self.durable = durable
        self.made: list[str] = []
        self.failed: Counter[str] = Counter()
        self.restarting = ""
        self.seen: list[int] = []
        self.gaps = 0
        self.done = False

    async def write(self, client: Client, number: int) -> None:
        count = 0
        while not self.done:
            count += 1
            name = f"image-{number}-{count}"
            try:
                with call.using(namespace="load"):
                    await client.images.create(image=Image(name=name, target=TARGET))
                    self.made.append(name)
                    assert (await client.images.get(name=name)).name == name
                    await client.leases.list()
                    await client.content.list()
            except Unavailable:
                self.failed[self.restarting] += 1
                await trio.sleep(0.001)

    async def follow(self, client: Client) -> None:
        """Read events with a stored cursor, as a consumer that loses nothing does."""
        cursor = 0
        while not self.done:
            try:
                page = await client.events.poll(since=cursor, wait=0.1)
            except Unavailable:
                await trio.sleep(0.001)
                continue
            if page.gap is not None:
                # Told exactly: from what was seen last to what is seen next.
                assert not self.durable
                assert page.gap.first == cursor + 1
                if page.events:
                    assert page.events[0].seq == page.gap.last + 1
                self.gaps += 1
            elif page.events:
                assert page.events[0].seq == cursor + 1
            self.seen += [one.seq for one in page.events]
            cursor = page.next

    async def progress(self) -> None:
        """Wait until something was written that was begun after this call."""
        target = len(self.made) + 2 * WRITERS
        while len(self.made) < target:  # noqa: ASYNC110 - any writer will do
            await trio.sleep(0.001)


@pytest.mark.parametrize("config", ["", SECOND], ids=["first", "second"])
async def test_every_plugin_is_restarted_under_load(
    config: str, tmp_path: Path
) -> None:
    load = Load(durable=not config)
    with trio.fail_after(120):
        async with (
            running_daemon(tmp_path, config) as daemon,
            daemon.client() as client,
        ):
            await client.events.bounds()
            async with trio.open_nursery() as nursery:
                for number in range(WRITERS):
                    nursery.start_soon(load.write, client, number)
                nursery.start_soon(load.follow, client)
                for uri in _running(daemon):
                    await load.progress()
                    load.restarting = uri
                    change = await client.management.restart(uri=uri)
                    # Answers that came before that of the restart are taken by now.
                    await client.introspection.server()
                    load.restarting = ""
                    after = {one.uri: (one.after, one.reason) for one in change.plugins}
                    assert {one[0] for one in after.values()} == {"ok"}, after
                await load.progress()
                load.done = True
            await _nothing_lost(client, load)
    assert load.failed[""] == 0
    assert load.seen == sorted(set(load.seen))
    if load.durable:
        assert load.seen == list(range(1, len(load.seen) + 1))
    else:
        # Its own restart, and that of the metadata store below it.
        assert 0 < load.gaps <= 2


def _running(daemon: RunningDaemon) -> list[str]:
    return [
        one.uri
        for one in daemon.daemon.plugins()
        if one.status == "ok" and one.kind != DAEMON.name
    ]


async def _nothing_lost(client: Client, load: Load) -> None:
    with call.using(namespace="load"):
        for name in load.made:
            try:
                await client.images.get(name=name)
            except NotFound:
                pytest.fail(f"{name} was acknowledged and is not there")
        with pytest.raises(AlreadyExists):
            await client.images.create(image=Image(name=load.made[0], target=TARGET))
