# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Every plugin of a daemon under load is restarted in turn: calls fail only as
`unavailable`, of the plugin in question and its dependents, and none that was begun when
the restart was answered; what was acknowledged is there, and no event is lost or told
twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable
from dataclasses import dataclass, field
from pathlib import Path
from shutil import which
from typing import TypeVar

import pytest
import trio

from pluggd.client import Client, ConnectionLost
from pluggd.errors import AlreadyExists, NotFound, Unavailable
from pluggd.model.types import Descriptor
from pluggd.services import call
from pluggd.services.content import CONTENT
from pluggd.services.daemon import DAEMON
from pluggd.services.events import EVENTS, EventPage
from pluggd.services.images import IMAGES, Image
from pluggd.services.leases import LEASES
from pluggd.testing import RunningDaemon, running_daemon

STATUSES = {"ok"} if which("runc") or which("crun") else {"ok", "skipped"}
"""What a plugin may be after its restart: tasks need a runtime."""
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


T = TypeVar("T")


@dataclass
class Restart:
    """Of a plugin. asked, answered: when, by the clients' own count of moments. kinds: of
    what it stopped and started."""

    uri: str
    asked: int
    answered: int = 0
    kinds: set[str] = field(default_factory=set[str])


@dataclass(frozen=True)
class Refused:
    """A call that was answered `unavailable`. begun, ended: moments, as of a restart."""

    kind: str
    begun: int
    ended: int
    text: str

    def is_due_to(self, restart: Restart) -> bool:
        """It was under way while the restart was, and concerns what was restarted. One
        that is begun when the answer is there has no excuse."""
        return (
            self.begun < restart.answered
            and self.ended > restart.asked
            and self.kind in restart.kinds
        )


class Load:
    """Clients that go on. durable: whether events outlive a restart. made: names whose
    creation was acknowledged. told: how often an event told of a creation, by name."""

    def __init__(self, durable: bool) -> None:
        self.durable = durable
        self.made: list[str] = []
        self.told: Counter[str] = Counter()
        self.restarts: list[Restart] = []
        self.refused: list[Refused] = []
        self.seen: list[int] = []
        self.gaps = 0
        self.cursor = 0
        self.done = False
        self._moment = 0

    def moment(self) -> int:
        """Later than all before: what orders calls that one thread makes."""
        self._moment += 1
        return self._moment

    async def asked(self, kind: str, calling: Awaitable[T]) -> T:
        """Do a call, and note that it was refused; it raises Unavailable then."""
        begun = self.moment()
        try:
            return await calling
        except ConnectionLost:
            raise AssertionError("a restart has cost a connection") from None
        except Unavailable as error:
            refused = Refused(kind, begun, self.moment(), error.message)
            self.refused.append(refused)
            raise

    async def restart(self, client: Client, uri: str) -> None:
        """Raises Unavailable when something does not work that was restarted."""
        restart = Restart(uri, self.moment())
        self.restarts.append(restart)
        change = await client.management.restart(uri=uri)
        restart.answered = self.moment()
        after = {one.uri: (one.after, one.reason) for one in change.plugins}
        assert {one[0] for one in after.values()} <= STATUSES, after
        restart.kinds = {one.rpartition(".")[0] for one in after}
        # The very next call of each service is served.
        with call.using(namespace="load"):
            await client.images.list(limit=1)
            await client.leases.list()
            await client.content.list()
            await client.events.bounds()

    async def write(self, client: Client, number: int) -> None:
        count = 0
        while not self.done:
            count += 1
            name = f"image-{number}-{count}"
            try:
                with call.using(namespace="load"):
                    image = Image(name=name, target=TARGET)
                    creating = client.images.create(image=image)
                    await self.asked(IMAGES.name, creating)
                    self.made.append(name)
                    getting = client.images.get(name=name)
                    assert (await self.asked(IMAGES.name, getting)).name == name
                    await self.asked(LEASES.name, client.leases.list())
                    await self.asked(CONTENT.name, client.content.list())
            except Unavailable:
                await trio.sleep(0.001)

    async def follow(self, client: Client) -> None:
        """Read events with a stored cursor, as a consumer that loses nothing does."""
        while not self.done:
            try:
                polling = client.events.poll(since=self.cursor, wait=0.1)
                page = await self.asked(EVENTS.name, polling)
            except Unavailable:
                await trio.sleep(0.001)
                continue
            self.take(page)

    def take(self, page: EventPage) -> None:
        """What comes next after the cursor, and nothing else."""
        if page.gap is not None:
            # Told exactly: from what was seen last to what is seen next.
            assert not self.durable
            assert page.gap.first == self.cursor + 1
            if page.events:
                assert page.events[0].seq == page.gap.last + 1
            self.gaps += 1
        elif page.events:
            assert page.events[0].seq == self.cursor + 1
        self.seen += [one.seq for one in page.events]
        self.told.update(
            one.event.value["name"]
            for one in page.events
            if one.topic == "/images/create"
        )
        self.cursor = page.next

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
                    await load.restart(client, uri)
                await load.progress()
                load.done = True
            while (page := await client.events.poll(since=load.cursor)).events:
                load.take(page)
            await _nothing_lost(client, load)
    for refused in load.refused:
        assert any(refused.is_due_to(restart) for restart in load.restarts), refused
    assert load.refused, "nothing was under way when the stores were restarted"
    assert load.seen == sorted(set(load.seen))
    if load.durable:
        assert load.seen == list(range(1, len(load.seen) + 1))
        assert {load.told[name] for name in load.made} == {1}
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
