# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""kill -9 under load: what was acknowledged is there, nothing half-written is seen."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from pluggd.contents.catalog import find_file
from pluggd.contents.records import FILES
from pluggd.errors import NotFound
from pluggd.services.call import using
from pluggd.services.content import Content
from pluggd.services.metadata import Metadata, View
from plugins.content.config import Config
from tests.plugins.content.content_setup import started_content, started_lmdb

ROOT = Path(__file__).resolve().parents[2]
ROUNDS = int(os.environ.get("PLUGGD_KILLS", "5"))


class Ledger:
    """What was acknowledged over all rounds."""

    def __init__(self) -> None:
        self.there: set[str] = set()
        self.perhaps: set[str] = set()
        self.gone: set[str] = set()
        self.parts: dict[str, int] = {}

    def read(self, line: str) -> None:
        match line.split():
            case ["put", digest]:
                self.there.add(digest)
            case ["going", digest]:
                self.there.discard(digest)
                self.perhaps.add(digest)
            case ["gone", digest]:
                self.perhaps.discard(digest)
                self.gone.add(digest)
            case ["part", ref, offset]:
                self.parts[ref] = int(offset)
            case _:
                pass


def run_and_kill(root: Path, seed: int, ledger: Ledger) -> int:
    """Load until a random number of acknowledgements, then SIGKILL; how many came."""
    lines = random.Random(seed).randrange(1, 120)
    command = [sys.executable, "-m", "tests.crash.content_kill_child"]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
    count = 0
    with subprocess.Popen(
        [*command, str(root), str(seed)],
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env=environment,
        text=True,
    ) as child:
        assert child.stdout is not None
        for line in child.stdout:
            ledger.read(line)
            count += 1
            if count == lines:
                child.send_signal(signal.SIGKILL)
        child.wait(30)
        assert child.returncode == -signal.SIGKILL, "the child ended by itself"
    return count


def _without_file(view: View) -> set[str]:
    files = ((name, find_file(view, name)) for name, _ in view.scan(FILES, ""))
    return {name for name, file in files if file is not None and file.data is not None}


async def check(
    root: Path, metadata: Metadata, content: Content, ledger: Ledger
) -> None:
    for digest in ledger.there:
        await content.verify(digest=digest)
    for digest in ledger.gone:
        with pytest.raises(NotFound):
            await content.info(digest=digest)
    for info in (await content.list()).infos:
        assert (await content.verify(digest=info.digest)).size == info.size
    for status in (await content.list_statuses()).statuses:
        state = await content.write(ref=status.ref, action="stat")
        assert state.offset == status.offset
        await content.abort(ref=status.ref)
    with trio.fail_after(30):
        small = await metadata.view(_without_file)
        stored = {info.digest for info in (await content.list()).infos}
        assert small < stored
        wanted = {digest[7:] for digest in stored - small}
        while set(os.listdir(root / "content/blobs/sha256")) != wanted:
            await trio.lowlevel.checkpoint()
        while os.listdir(root / "content/ingest"):
            await trio.lowlevel.checkpoint()


@pytest.mark.slow
async def test_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    ledger = Ledger()
    for seed in range(ROUNDS):
        await trio.to_thread.run_sync(run_and_kill, tmp_path, seed, ledger)
        with using(namespace="one"):
            async with (
                started_lmdb(tmp_path / "metadata") as metadata,
                started_content(tmp_path / "content", metadata, Config()) as content,
            ):
                await check(tmp_path, metadata, content, ledger)
    assert ledger.there
