# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""A process that commits, continues and deletes blobs until it is killed.

It writes a ledger to its standard output, a line for each thing that was acknowledged
(and, before a deletion, that it is about to be asked for):

    put DIGEST       the commit returned
    part REF OFFSET  the ingest has that many bytes
    going DIGEST     its deletion is about to be asked for
    gone DIGEST      the deletion returned
"""

from __future__ import annotations

import hashlib
import os
import random
import sys
from pathlib import Path

import trio

from pluggd.services.call import using
from pluggd.services.content import Content
from plugins.content.config import Config
from tests.plugins.content.content_setup import started_content, started_lmdb

WORKERS = 6


def note(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


async def work(content: Content, number: int, seed: int) -> None:
    chance = random.Random(seed * 100 + number)
    ref = f"worker {number}"
    committed: list[str] = []
    while True:
        data = chance.randbytes(chance.choice([10, 4096, 200_000]))
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        way = chance.choice(["whole", "steps", "descriptor", "delete"])
        if way == "whole":
            await content.write(ref=ref, action="commit", data=data)
        elif way == "steps":
            half = len(data) // 2
            await content.write(ref=ref, data=data[:half], total=len(data))
            note("part", ref.replace(" ", "_"), half)
            await content.write(
                ref=ref, action="commit", offset=half, data=data[half:], expected=digest
            )
        elif way == "descriptor":
            opened = await content.ingest_open(ref=ref, expected=digest)
            os.ftruncate(opened.fd, 0)
            os.pwrite(opened.fd, data, 0)
            os.close(opened.fd)
            await content.write(ref=ref, action="commit", total=len(data))
        elif committed:
            digest = committed.pop(chance.randrange(len(committed)))
            note("going", digest)
            await content.delete(digest=digest)
            note("gone", digest)
            continue
        else:
            continue
        committed.append(digest)
        note("put", digest)


async def main(root: Path, seed: int) -> None:
    async with (
        started_lmdb(root / "metadata") as metadata,
        started_content(root / "content", metadata, Config()) as content,
        trio.open_nursery() as nursery,
    ):
        with using(namespace="one"):
            for number in range(WORKERS):
                nursery.start_soon(work, content, number, seed)
            note("ready")
            while True:
                for resource in metadata.resources():
                    if resource.cleanup is not None:
                        await resource.cleanup()
                await trio.sleep(0.01)


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]), int(sys.argv[2]))
