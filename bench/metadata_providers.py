# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The metadata providers side by side, in process: create, get, list, sync-delete.

    python -m bench.metadata_providers [DIRECTORY]

Prints wall and CPU time per operation, in microseconds. No socket, no dispatch: what
differs between providers and nothing else.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import trio

from pluggd.services.metadata import FOREVER, Metadata, Node, ResourceType, Transaction
from pluggd.testing import started
from plugins.metadata.registration import pluggd_register as lmdb
from plugins.metadata_sqlite.registration import pluggd_register as sqlite

COUNT = 2000
TOGETHER = 50
RECORD = bytes(500)


async def measure(metadata: Metadata) -> dict[str, tuple[float, float]]:
    """Microseconds of wall and CPU time per operation."""
    await metadata.open_table("things")

    def collect(txn: Transaction, node: Node) -> None:
        txn.drop_node(node)
        txn.delete("things", node.namespace, node.name)

    metadata.register(ResourceType("thing", "things", collect))
    found: dict[str, tuple[float, float]] = {}

    async def timed(name: str, count: int, run: Callable[[], Awaitable[None]]) -> None:
        wall, cpu = time.perf_counter(), time.process_time()
        await run()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        found[name] = (wall / count * 1e6, cpu / count * 1e6)

    async def create(front: str, numbers: range) -> None:
        for number in numbers:
            node = Node("thing", "ns", f"{front}-{number}")

            def change(txn: Transaction, node: Node = node) -> None:
                txn.put("things", "ns", node.name, RECORD)
                txn.set_node(node, root_until=FOREVER)
                txn.emit("ns", "/things/create", "test.Made", node.name)

            await metadata.update(change)

    async def one_by_one() -> None:
        await create("a", range(COUNT // 4))

    async def together() -> None:
        async with trio.open_nursery() as nursery:
            for task in range(TOGETHER):
                nursery.start_soon(create, f"b{task}", range(COUNT // TOGETHER))

    async def get() -> None:
        for number in range(COUNT):
            name = f"b{number % TOGETHER}-{number // TOGETHER}"
            assert metadata.read(lambda view, n=name: view.get("things", "ns", n))  # type: ignore[misc]

    async def listing() -> None:
        for _ in range(20):
            assert len(metadata.read(lambda v: list(v.scan("things", "ns")))) > COUNT

    async def delete() -> None:
        for number in range(COUNT // 4):
            node = Node("thing", "ns", f"a-{number}")
            await metadata.update(lambda txn, n=node: txn.set_node(n), reclaim=True)  # type: ignore[misc]
            await metadata.collect()

    await timed("create, one by one", COUNT // 4, one_by_one)
    await timed(f"create, {TOGETHER} together", COUNT, together)
    await timed("get", COUNT, get)
    await timed("list, per record", 20 * (COUNT + COUNT // 4), listing)
    await timed("sync-delete, one by one", COUNT // 4, delete)
    return found


async def main(directory: str | None) -> None:
    for register in (lmdb, sqlite):
        registration = register()
        with tempfile.TemporaryDirectory(dir=directory) as root:
            config = registration.config()
            async with started(registration, {}, config, Path(root)) as (metadata, _):
                found = await measure(metadata)
        for name, (wall, cpu) in found.items():
            print(f"{registration.id:7} {name:26} {wall:9.1f} us {cpu:9.1f} us CPU")


if __name__ == "__main__":
    trio.run(main, sys.argv[1] if len(sys.argv) > 1 else None)
