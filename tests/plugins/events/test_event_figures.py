# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What the events plugin says of its subscribers."""

from __future__ import annotations

from pathlib import Path

import trio
import trio.testing

from pluggd.model.record import Encoded
from pluggd.model.types import Any as AnyEvent
from pluggd.services import call
from pluggd.services.events import EVENTS, EventItem
from pluggd.testing import running_daemon


class Stuck:
    """A subscriber that takes nothing."""

    def __init__(self) -> None:
        self.reached = trio.Event()

    async def send(self, value: Encoded[EventItem], /) -> None:
        self.reached.set()
        await trio.sleep_forever()


async def test_a_slow_subscriber_is_seen_with_its_lag(tmp_path: Path) -> None:
    async with running_daemon(tmp_path) as running, running.client() as client:
        row = next(r for r in running.daemon.table.rows if r.kind == EVENTS.name)
        stuck = Stuck()

        async def figures() -> dict[str, float]:
            stats = await client.introspection.stats(names=["event_"])
            return {one.name: one.samples[0].value for one in stats.figures}

        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:

                async def subscribe() -> None:
                    await row.instance.subscribe(out=stuck)

                nursery.start_soon(subscribe)
                await trio.testing.wait_all_tasks_blocked()
                assert (await figures())["event_subscriber_lag"] == 0
                for _ in range(3):
                    with call.using(namespace="ns"):
                        await row.instance.publish(
                            topic="/a", event=AnyEvent(type_url="t", value=1)
                        )
                await stuck.reached.wait()
                found = await figures()
                assert found["event_subscribers"] == 1
                assert found["event_subscribers_reading"] == 1
                assert found["event_subscriber_lag"] == 3
                nursery.cancel_scope.cancel()
        found = await figures()
        assert found["event_subscribers_reading"] == found["event_subscribers"] == 0
        assert found["event_subscriber_lag"] == 0
