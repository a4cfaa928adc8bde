# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The fixtures for authors of plugins."""

from __future__ import annotations

from typing import Any

import trio
import trio.testing

from pluggd.client import Client
from pluggd.model.types import Descriptor
from pluggd.services import call
from pluggd.services.content import CONTENT
from pluggd.services.diff import Diff
from pluggd.services.events import Events
from pluggd.services.gc import Gc
from pluggd.services.images import IMAGES, Image
from pluggd.services.kind import Kind
from pluggd.services.snapshots import SNAPSHOTTER, Snapshots
from pluggd.testing import RunningDaemon

# By import, so that it works the same where pluggd is installed (and its pytest plugin
# loaded by entry point) and where it is not.
from pluggd.testing.pytest_plugin import (
    pluggd_client,
    pluggd_clock,
    pluggd_config,
    pluggd_containers,
    pluggd_content,
    pluggd_daemon,
    pluggd_diff,
    pluggd_events,
    pluggd_found,
    pluggd_gc,
    pluggd_images,
    pluggd_kinds,
    pluggd_leases,
    pluggd_metadata,
    pluggd_namespaces,
    pluggd_plugins,
    pluggd_snapshots,
    pluggd_snapshotter,
)

__all__ = [
    "pluggd_client",
    "pluggd_clock",
    "pluggd_config",
    "pluggd_containers",
    "pluggd_content",
    "pluggd_daemon",
    "pluggd_diff",
    "pluggd_events",
    "pluggd_found",
    "pluggd_gc",
    "pluggd_images",
    "pluggd_kinds",
    "pluggd_leases",
    "pluggd_metadata",
    "pluggd_namespaces",
    "pluggd_plugins",
    "pluggd_snapshots",
    "pluggd_snapshotter",
]


async def test_the_client_talks_to_the_daemon(
    pluggd_daemon: RunningDaemon, pluggd_client: Client
) -> None:
    with trio.fail_after(10):
        server = await pluggd_client.introspection.server()
    assert server.address == str(pluggd_daemon.address)
    assert pluggd_client.namespace == "default"


async def test_what_a_plugin_stands_on_is_one_whole(
    pluggd_kinds: dict[Kind[Any], Any], pluggd_events: Events, pluggd_gc: Gc
) -> None:
    content, images = pluggd_kinds[CONTENT], pluggd_kinds[IMAGES]
    with trio.fail_after(10), call.using(namespace="ns"):
        blob = await content.write(ref="r", action="commit", data=b"x")
        target = Descriptor(media_type="a/b", digest=blob.digest, size=1)
        await images.create(image=Image(name="i", target=target))
        await pluggd_gc.run(wait=True)
        assert (await content.info(digest=blob.digest)).size == 1
        await images.delete(name="i", sync=True)
        assert (await content.list()).infos == []
        topics = [one.topic for one in (await pluggd_events.poll(since=0)).events]
    assert topics[:3] == ["/content/create", "/images/create", "/images/delete"]
    assert SNAPSHOTTER in pluggd_kinds


async def test_layers_are_made_of_snapshots(
    pluggd_kinds: dict[Kind[Any], Any], pluggd_snapshots: Snapshots, pluggd_diff: Diff
) -> None:
    with trio.fail_after(30), call.using(namespace="ns"):
        made = await pluggd_snapshots.prepare(key="k")
        await trio.Path(made.mounts[0].source, "file").write_text("text")
        layer = await pluggd_diff.create(lower=(), upper=made.mounts)
        info = await pluggd_kinds[CONTENT].info(digest=layer.digest)
    assert info.size == layer.size > 0


async def test_an_hour_is_over_at_once(pluggd_clock: trio.testing.MockClock) -> None:
    before = trio.current_time()
    await trio.sleep(3600)
    assert trio.current_time() - before == 3600
