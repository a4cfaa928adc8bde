# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""A tour of the daemon in a temporary directory: `make demo`.

Every step is a command that you can type; what it prints is what the daemon said.
Fails when any step does, so that it can be run as a test.
"""

from __future__ import annotations

import os
import random
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pluggd.testing.images import Layout

BIN = Path(sys.executable).parent
NAME = "docker.io/library/hello:latest"


def _shown(path: Path) -> Path:
    """As somebody in this directory would type it."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def _image() -> Layout:
    """A small one, with a layer that is large enough to get a file."""
    layout = Layout()
    program = {"hello": b"#!/bin/sh\necho hello\n"}
    data = {"usr/share/hello/data": random.Random(1).randbytes(100_000)}
    layout.name(layout.add_image([program, data]), NAME)
    return layout


class Demo:
    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._address = directory / "pluggd.sock"
        self._color = sys.stdout.isatty()
        self._number = 0

    def say(self, text: str) -> None:
        self._number += 1
        line = f"{self._number}. {text}"
        print(f"\n\033[1m{line}\033[0m" if self._color else f"\n{line}", flush=True)

    def run(self, *arguments: str, namespace: str = "") -> str:
        """Run pluggctl, show the command and what it prints."""
        shown = ["pluggctl", *(("-n", namespace) if namespace else ()), *arguments]
        print(f"   $ {shlex.join(shown)}", flush=True)
        result = subprocess.run(
            [str(BIN / "pluggctl"), *shown[1:]],
            env={**os.environ, "PLUGGD_ADDRESS": str(self._address)},
            cwd=self._directory,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        for line in (result.stdout + result.stderr).splitlines():
            print(f"     {line}")
        if result.returncode:
            raise SystemExit(f"the command above failed with {result.returncode}")
        return result.stdout

    def blobs(self) -> list[str]:
        """The files of blobs, whatever any record says. Small blobs have none: they lie
        in the metadata store."""
        return sorted(path.name for path in self._directory.glob("root/*/blobs/*/*"))

    def show_blobs(self) -> None:
        found = self.blobs()
        names = " ".join(name[:12] for name in found) or "none"
        print(f"     files of blobs larger than 16 KiB: {names}")

    def main(self) -> None:
        self.say("Start a daemon with its files in a temporary directory.")
        command = [
            "pluggd", "run", "--root", "root", "--state", "state", "--address",
            str(self._address),
        ]  # fmt: skip
        print(f"   $ {shlex.join(command)} &", flush=True)
        log = self._directory / "pluggd.log"
        with log.open("w") as output:
            daemon = subprocess.Popen(
                [str(BIN / command[0]), *command[1:]],
                cwd=self._directory,
                stdout=output,
                stderr=output,
            )
        try:
            self._wait(daemon, log)
            self._tour()
            self.say("Stop the daemon: plugins stop in reverse order.")
            print(f"   $ kill -TERM {daemon.pid}")
            daemon.send_signal(signal.SIGTERM)
            status = daemon.wait(timeout=30)
            print(f"     exit status {status}; the last lines of its log:")
            for line in log.read_text().splitlines()[-3:]:
                print(f"     {line}")
            if status:
                raise SystemExit(f"the daemon ended with {status}")
        finally:
            if daemon.poll() is None:
                daemon.kill()
                daemon.wait()
        print(
            "\nNext, a daemon that stays. Both commands are in the environment that make"
            f" made:\n   $ . {_shown(BIN / 'activate')}\n   $ pluggd run\nand in another"
            " terminal, after the first line again, what it can do:\n   $ pluggctl methods"
            "\nThen docs/writing-a-plugin.md, for a plugin of your own."
        )

    def _wait(self, daemon: subprocess.Popen[bytes], log: Path) -> None:
        end = time.monotonic() + 30
        while not self._address.exists():
            if daemon.poll() is not None or time.monotonic() > end:
                print(log.read_text(), file=sys.stderr)
                raise SystemExit("the daemon did not start")
            time.sleep(0.02)

    def _tour(self) -> None:
        self.say("Everything in it is a plugin; this is what came up, in order.")
        self.run("plugins", "ls")

        self.say("Build a small OCI image and import it; every digest is checked.")
        archive = self._directory / "hello.tar"
        archive.write_bytes(_image().tar())
        self.run("images", "import", "hello.tar", namespace="blue")
        self.run("images", "ls", namespace="blue")

        self.say("Tag it into a second namespace: no byte is copied.")
        before = self.blobs()
        self.run(
            "images", "tag", NAME, NAME, "--to-namespace", "green", namespace="blue"
        )
        self.run("content", "ls", namespace="green")
        self.show_blobs()
        if self.blobs() != before:
            raise SystemExit("tagging changed what is on disk")

        self.say("Delete it in one namespace and wait for the collector.")
        self.run("images", "rm", "--sync", NAME, namespace="blue")
        self.run("content", "ls", namespace="blue")
        self.show_blobs()

        self.say("Delete it in the other: now nothing keeps the blobs.")
        self.run("gc", "explain", self._layer(), namespace="green")
        self.run("images", "rm", "--sync", NAME, namespace="green")
        self.run("gc", "status")
        self.show_blobs()
        if self.blobs():
            raise SystemExit("the collector left blobs behind")

        self.say("What happened, in one order, as the daemon recorded it.")
        self.run("events", "--since", "0", "--no-follow")

    def _layer(self) -> str:
        """A digest to ask about: the largest blob of the image."""
        name = max(
            self._directory.glob("root/*/blobs/*/*"),
            key=lambda path: path.stat().st_size,
        )
        return f"{name.parent.name}:{name.name}"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="pluggd-demo-") as temporary:
        Demo(Path(temporary)).main()
