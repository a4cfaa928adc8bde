# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What others do to the calls of one client: `run.py --crowd`. pluggd alone.

A crowd of idle connections, one of subscribers that take every event, and one
subscriber that never reads. It is a process of its own, which receives and decodes
nothing. It also creates images at a steady rate, so that there are events to deliver while
the calls are timed; when alone, too.
"""

from __future__ import annotations

import itertools
import json
import selectors
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from single import (
    NAMESPACE,
    Client,
    Daemon,
    many_files,
    median,
    p99,
    running,
    size,
    timed,
)

COUNT = 1000
GETS = 5000
CREATES = 500
RATE = 20
"""Images that the crowd creates each second."""

TARGET = {"media_type": "x", "digest": "sha256:" + "0" * 64, "size": 9}
CREDIT = 1 << 30
"""Items that a subscriber lets come at once."""

CROWDS = {
    "alone": [],
    f"{COUNT:,} idle connections": [("idle", COUNT)],
    "1 subscriber that never reads": [("deaf", 1)],
    f"{COUNT:,} subscribers": [("subscribed", COUNT)],
    "all of these": [("idle", COUNT), ("deaf", 1), ("subscribed", COUNT)],
}


def measure(work: Path) -> list[dict[str, float | str]]:
    many_files()
    found: list[dict[str, float | str]] = []
    for label, crowd in CROWDS.items():
        directory = work / "crowd"
        shutil.rmtree(directory, ignore_errors=True)
        with running(directory) as daemon, gathered(daemon, crowd):
            found.append({"label": label, **calls(daemon)})
        print(f"{time.strftime('%H:%M:%S')} {found[-1]}", file=sys.stderr)
    return found


def calls(daemon: Daemon) -> dict[str, float]:
    numbers = itertools.count()
    with daemon.client() as client:

        def create(_: int) -> None:
            name = f"docker.io/library/app:{next(numbers)}"
            image = {"name": name, "target": TARGET}
            client.call("images.v1.create", {"image": image})

        def get(_: int) -> None:
            client.call("images.v1.get", {"name": "docker.io/library/app:0"})

        timed(create, 20)
        timed(get, 200)
        creates, before = timed(create, CREATES), daemon.cpu()
        gets = timed(get, GETS)
        return {
            "get": median(gets),
            "get_p99": p99(gets),
            "create": median(creates),
            "create_p99": p99(creates),
            "get_cpu": (daemon.cpu() - before) / GETS,
            "rss": daemon.memory()["rss"],
        }


@contextmanager
def gathered(daemon: Daemon, crowd: list[tuple[str, int]]) -> Iterator[None]:
    words = [sys.executable, __file__, str(daemon.socket), json.dumps(crowd)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield
        finally:
            process.kill()


def report(found: list[dict[str, float | str]]) -> None:
    print("\n| beside | get p50 | p99 | create p50 | p99 | daemon RSS |")
    print("|---|--:|--:|--:|--:|--:|")
    for one in found:
        times = (size(one[k]) for k in ("get", "get_p99", "create", "create_p99"))
        print(f"| {one['label']} | {' | '.join(times)} | {one['rss']:.0f} MiB |")


# --- the crowd itself


def be_crowd(path: str, crowd: list[tuple[str, int]]) -> None:
    import msgpack

    subscribe = msgpack.packb(
        [0, 1, "events.v1.subscribe", [{}, {"namespace": NAMESPACE}]]
    )
    credit = msgpack.packb([2, "$/credit", [1, CREDIT]])
    selector = selectors.DefaultSelector()
    kept: list[socket.socket] = []
    for kind, count in crowd:
        for _ in range(count):
            one = socket.socket(socket.AF_UNIX)
            one.connect(path)
            kept.append(one)
            if kind != "idle":
                one.sendall(subscribe + credit)
            if kind == "subscribed":
                selector.register(one, selectors.EVENT_READ)
    time.sleep(2)  # until the last of them has subscribed
    print("there", flush=True)
    publisher = Client(path, namespace=NAMESPACE)
    due = time.monotonic()
    for number in itertools.count():
        image = {"name": f"docker.io/other/app:{number}", "target": TARGET}
        publisher.call("images.v1.create", {"image": image})
        due = max(due + 1 / RATE, time.monotonic())
        while (left := due - time.monotonic()) > 0:
            for key, _ in selector.select(left):
                cast("socket.socket", key.fileobj).recv(1 << 16)


if __name__ == "__main__":
    many_files()
    be_crowd(sys.argv[1], [tuple(one) for one in json.loads(sys.argv[2])])
