# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Imports, deletions and collections at the same time: no import fails, no image that
is there has a hole, and when all is deleted the disk is empty.

The images share layers, so that what one deletion sets free is what another import is
just about to use; this is where collectors of other daemons lost data.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from pluggd.client.blocking import Client
from pluggd.errors import NotFound
from pluggd.testing import running_daemon
from pluggd.testing.images import Layout

IMPORTS = 40  # of each importer
SHARED = [{"shared": bytes([number]) * 1000} for number in range(4)]
SPACES = ("blue", "green")

pytestmark = pytest.mark.slow


def import_images(address: str, seed: int) -> None:
    chance = random.Random(seed)
    with Client(address, namespace=SPACES[seed % 2]) as client:
        for _ in range(IMPORTS):
            layout = Layout()
            layers = [*chance.sample(SHARED, 2), {"own": chance.randbytes(300)}]
            name = f"example.com/image{chance.randrange(4)}:1"
            layout.name(layout.add_image(layers), name)
            client.upload("transfer.v1.import", {}, [layout.tar()])


def collect(address: str, done: threading.Event) -> None:
    with Client(address) as client:
        number = 0
        while not done.is_set():
            number += 1
            client.call("gc.v1.run", {"wait": True, "full": number % 5 == 0})


def delete_images(address: str, space: str, done: threading.Event) -> None:
    chance = random.Random(space)
    with Client(address, namespace=space) as client:
        while not done.is_set():
            for image in client.call("images.v1.list", {}).get("images", []):
                arguments = {"name": image["name"], "sync": chance.random() < 0.5}
                try:
                    client.call("images.v1.delete", arguments)
                except NotFound:
                    raise AssertionError("nobody else deletes images") from None
            done.wait(0.01)


def race(address: str) -> None:
    """Run it all in threads; raises what any of them raised."""
    errors: list[BaseException] = []
    done = threading.Event()

    def run(function: Callable[..., None], *args: object) -> threading.Thread:
        def work() -> None:
            try:
                function(*args)
            except BaseException as error:  # noqa: BLE001 - raised in the main thread
                errors.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        return thread

    others = [run(collect, address, done)]
    others += [run(delete_images, address, space, done) for space in SPACES]
    importers = [run(import_images, address, seed) for seed in range(4)]
    for thread in importers:
        thread.join()
    done.set()
    for thread in others:
        thread.join()
    for error in errors:
        raise error


def export_and_delete_all(address: str) -> None:
    """An export reads every blob of an image and compares it with its digest.

    The collection at the end is for what was deleted without `sync` in the race: it may
    be that no image is left whose deletion would wait for one.
    """
    for space in SPACES:
        with Client(address, namespace=space) as client:
            for image in client.call("images.v1.list", {}).get("images", []):
                names = {"names": [image["name"]]}
                for _ in client.stream("transfer.v1.export", names):
                    pass
                client.call("images.v1.delete", {"name": image["name"], "sync": True})
            assert not client.call("leases.v1.list", {}).get("leases")
    with Client(address) as client:
        client.call("gc.v1.run", {"wait": True})


def blobs_on_disk(directory: Path) -> list[str]:
    return [path.name for path in directory.glob("root/*/blobs/*/*")]


async def test_collections_take_nothing_from_imports_that_run(tmp_path: Path) -> None:
    async with running_daemon(tmp_path, subprocess=True) as daemon:
        address = str(daemon.address)
        with trio.fail_after(120):
            await trio.to_thread.run_sync(race, address)
            await trio.to_thread.run_sync(export_and_delete_all, address)
        assert "level=error" not in daemon.log_text
    assert blobs_on_disk(tmp_path) == []
