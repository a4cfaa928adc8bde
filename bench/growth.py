# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What the same operation costs in a store of a thousand images, and of a million:
`run.py --growth`. pluggd alone, one client; the store is filled by `fill.py`."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from daemons import ROOT, environment
from single import Client, Daemon, median, running, size, timed

WITH_BLOBS = 100_000
"""This size is measured a second time, with BLOBS blobs for each image."""

BLOBS = 10
CHUNK = 250_000
"""Images that one process adds."""

FACTOR = 2.0
"""By which a get, create or delete may grow from the least to the largest store."""

START = 1.0
"""Seconds that a start may take."""


@dataclass
class Point:
    """One store. Times in seconds, medians; memory in MiB, disk in bytes."""

    images: int
    blobs: int
    get: float = 0
    create: float = 0
    create_cpu: float = 0
    page: float = 0
    delete: float = 0
    mark: float = 0
    clean: float = 0
    killed: float = 0
    rss: float = 0
    anon: float = 0
    disk: int = 0

    @property
    def label(self) -> str:
        more = f", {self.blobs} blobs each" if self.blobs else ""
        return f"{self.images:,} images{more}"


def measure(sizes: list[int], work: Path) -> list[Point]:
    points: list[Point] = []
    for images in sorted(sizes):
        for blobs in (0, BLOBS) if images == WITH_BLOBS else (0,):
            directory = work / "growth"
            shutil.rmtree(directory, ignore_errors=True)
            points.append(measure_one(Point(images, blobs), directory))
            shutil.rmtree(directory)
            print(f"{time.strftime('%H:%M:%S')} {points[-1]}", file=sys.stderr)
    return points


def measure_one(point: Point, directory: Path) -> Point:
    fill(directory / "root", point.images, point.blobs)
    with running(directory) as daemon:
        daemon.settle()
        with daemon.client() as client:
            operations(point, daemon, client)
            daemon.settle()
            memory = daemon.memory()
            point.rss, point.anon = memory["rss"], memory["anon"]
        point.disk = sum(
            file.stat().st_blocks * 512
            for file in daemon.database.rglob("*")
            if file.is_file()
        )
    point.clean = median([restarted(directory, signal.SIGTERM) for _ in range(3)])
    restarted(directory, signal.SIGKILL)
    point.killed = median([restarted(directory, signal.SIGKILL) for _ in range(3)])
    return point


def fill(root: Path, images: int, blobs: int) -> None:
    for first in range(0, images, CHUNK):
        count = min(CHUNK, images - first)
        words = [sys.executable, str(ROOT / "bench" / "fill.py")]
        words += map(str, (root, first, count, blobs))
        path = f"{ROOT / 'src'}{os.pathsep}{ROOT}"
        subprocess.run(words, env={**environment(), "PYTHONPATH": path}, check=True)


def operations(point: Point, daemon: Daemon, client: Client) -> None:
    chance = random.Random(1)
    names = [f"team{n % 97}/app{n}:v1" for n in chance.sample(range(point.images), 500)]
    names = [f"registry.example/{name}" for name in names]

    def get(number: int) -> None:
        client.call("images.v1.get", {"name": names[number % len(names)]})

    def create(number: int) -> None:
        image = {
            "name": f"registry.example/team{number % 97}/new{number}:v1",
            "labels": {"team": "new"},
            "target": {"media_type": "x", "digest": digest(number), "size": 9},
        }
        client.call("images.v1.create", {"image": image})

    def page(number: int) -> None:
        after = names[number % len(names)]
        client.call("images.v1.list", {"limit": 100, "after": after})

    def delete(number: int) -> None:
        name = f"registry.example/team{number % 97}/new{number}:v1"
        client.call("images.v1.delete", {"name": name, "sync": True})

    timed(get, 200)
    point.get = median(timed(get, 2000))
    before = daemon.cpu()
    point.create = median(timed(create, 300))
    point.create_cpu = (daemon.cpu() - before) / 300
    point.page = median(timed(page, 100))
    for number in range(100):
        data = str(number).encode()
        client.call("content.v1.write", {"ref": "r", "action": "commit", "data": data})
    daemon.settle()
    point.delete = median(timed(delete, 100))
    run = {"wait": True, "full": True}
    point.mark = timed(lambda _: client.call("gc.v1.run", run), 1)[0]


def digest(number: int) -> str:
    return "sha256:" + hashlib.sha256(str(number).encode()).hexdigest()


def restarted(directory: Path, number: int) -> float:
    """The time of a start, after which the daemon is ended by this signal."""
    daemon = Daemon(directory)
    daemon.end(number)
    return daemon.started


ROWS = [
    ("get", lambda p: size(p.get)),
    ("create, durable", lambda p: size(p.create)),
    ("daemon CPU of a create", lambda p: size(p.create_cpu)),
    ("list of a page of 100", lambda p: size(p.page)),
    ("synchronous delete, image and blob", lambda p: size(p.delete)),
    ("full mark", lambda p: size(p.mark)),
    ("start after a clean stop", lambda p: size(p.clean)),
    ("start after kill -9", lambda p: size(p.killed)),
    ("memory, RSS", lambda p: f"{p.rss:.0f} MiB"),
    ("memory without the mapped database", lambda p: f"{p.anon:.0f} MiB"),
    ("metadata on disk", lambda p: f"{p.disk / 2**20:.0f} MiB"),
]


def report(points: list[Point]) -> None:
    print("\n| one client, medians | " + " | ".join(p.label for p in points) + " |")
    print("|---|" + "--:|" * len(points))
    for label, show in ROWS:
        print(f"| {label} | " + " | ".join(map(show, points)) + " |")
    plain = [p for p in points if not p.blobs]
    if len(plain) > 1:
        first, last = plain[0], plain[-1]
        for name in ("get", "create", "delete"):
            factor = getattr(last, name) / getattr(first, name)
            verdict = "met" if factor <= FACTOR else "MISSED"
            print(
                f"\n{name}: {factor:.2f} x from {first.images:,} to {last.images:,} "
                f"images (at most {FACTOR:g}): {verdict}",
                end="",
            )
    slowest = max(max(p.clean, p.killed) for p in points)
    verdict = "met" if slowest <= START else "MISSED"
    print(f"\nslowest start: {size(slowest)} (at most {START:g} s): {verdict}")
