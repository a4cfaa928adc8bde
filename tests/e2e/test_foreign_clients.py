# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Clients that share no code with the daemon: Neovim, JavaScript, a bare socket.

What they can do is what the wire promises to any msgpack-RPC client.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest
import trio

from pluggd.model.types import Descriptor
from pluggd.services.images import Image
from pluggd.services.namespaces import Namespace
from pluggd.testing import RunningDaemon, running_daemon

CLIENTS = Path(__file__).parent / "clients"
MSGPACK_JS = "@msgpack/msgpack@3.1.3"
NAME = "docker.io/library/hello:1"
NS = {"namespace": "default"}


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncGenerator[RunningDaemon]:
    """A daemon in a process of its own, with one image."""
    async with running_daemon(tmp_path / "d", subprocess=True) as running:
        async with running.client(namespace="default") as client:
            target = Descriptor(
                media_type="application/vnd.oci.image.manifest.v1+json",
                digest=f"sha256:{'a' * 64}",
                size=3,
            )
            await client.images.create(image=Image(name=NAME, target=target))
        yield running


# --- Neovim

needs_neovim = pytest.mark.skipif(
    shutil.which("nvim") is None, reason="nvim is not installed (Debian: neovim)"
)


async def neovim(
    daemon: RunningDaemon, directory: Path, *calls: list[Any]
) -> list[dict[str, Any]]:
    """What Neovim shows for these calls, and at the end for one with an empty table."""
    program = shutil.which("nvim")
    assert program is not None
    file = directory / "calls"
    file.write_text("".join(json.dumps(call) + "\n" for call in calls))
    with trio.fail_after(60):
        done = await trio.run_process(
            [
                *(program, "--headless", "-u", "NONE", "-i", "NONE", "-n"),
                *("-c", f"luafile {CLIENTS / 'neovim.lua'}", "-c", "qa!"),
            ],
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(directory),
                "PLUGGD_ADDRESS": str(daemon.address),
                "PLUGGD_CALLS": str(file),
            },
            capture_stdout=True,
            capture_stderr=True,
            check=False,
        )
    lines = done.stdout.decode().splitlines()
    assert len(lines) == len(calls) + 1, done.stderr.decode()
    return [json.loads(line) for line in lines]


@needs_neovim
async def test_neovim_lists_images_and_polls_events(
    daemon: RunningDaemon, tmp_path: Path
) -> None:
    images, filtered, events, later, empty = await neovim(
        daemon,
        tmp_path,
        ["images.v1.list", {}, NS],
        ["images.v1.list", {"filters": ["name~=/nothing/"], "limit": 5}, NS],
        ["events.v1.poll", {"since": 0, "filters": ['topic~="^/images/"']}],
        ["events.v1.poll", {"since": 1, "wait": 0.1}],
    )
    assert [one["ok"] for one in (images, filtered, events, later, empty)] == [True] * 5
    assert [image["name"] for image in images["result"]["images"]] == [NAME]
    assert "images" not in filtered["result"]
    (created,) = events["result"]["events"]
    assert created["topic"] == "/images/create"
    assert created["namespace"] == "default"
    assert created["event"]["value"] == {"name": NAME}
    assert later["result"]["next"] >= 1


@needs_neovim
async def test_neovim_shows_what_is_wrong(
    daemon: RunningDaemon, tmp_path: Path
) -> None:
    answers = await neovim(
        daemon,
        tmp_path,
        ["images.v1.nosuch", {}, NS],
        ["images.v1.list", {"filters": ["name=="]}, NS],
        ["images.v1.list", {}],
        ["images.v1.list", {"limt": 3}, NS],
        ["images.v1.get", {"name": "nope"}, NS],
    )
    assert [one["ok"] for one in answers[:-1]] == [False] * 5
    texts = [one["result"] for one in answers[:-1]]
    assert 'not_implemented: unknown method "nosuch"' in texts[0]
    assert "invalid_argument: filters: parse error: [name==]" in texts[1]
    assert "failed_precondition: namespace is required" in texts[2]
    assert "invalid_argument: " in texts[3]
    assert "limt" in texts[3]
    assert 'not_found: image "nope": not found' in texts[4]


@needs_neovim
async def test_neovim_waits_for_an_event_that_somebody_else_causes(
    daemon: RunningDaemon, tmp_path: Path
) -> None:
    async def create() -> None:
        async with daemon.client(namespace="other") as client:
            # Whether Neovim waits already or comes later, it gets the same answer.
            await client.namespaces.create(namespace=Namespace(name="other"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(create)
        event, _ = await neovim(
            daemon,
            tmp_path,
            [
                "events.v1.poll",
                {
                    "since": 0,
                    "wait": 30,
                    "filters": ['topic=="/namespaces/create",event.name==other'],
                },
            ],
        )
    assert event["ok"]
    assert len(event["result"]["events"]) == 1


# --- JavaScript


@pytest.fixture(scope="session")
def msgpack_js() -> Path:
    """The directory of a msgpack library for node, installed once per machine."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node and npm are not installed (Debian: nodejs, npm)")
    caches = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    place = caches / "pluggd-tests" / MSGPACK_JS.replace("/", "-")
    if not (place / "node_modules" / "@msgpack" / "msgpack" / "package.json").exists():
        place.mkdir(parents=True, exist_ok=True)
        installed = subprocess.run(
            [
                "npm",
                "install",
                "--no-audit",
                "--no-fund",
                "--prefix",
                place,
                MSGPACK_JS,
            ],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        if installed.returncode != 0:
            pytest.skip(f"npm cannot install {MSGPACK_JS}: {installed.stderr[-200:]}")
    return place


async def test_javascript_calls_streams_and_shows_errors(
    daemon: RunningDaemon, msgpack_js: Path
) -> None:
    with trio.fail_after(60):
        done = await trio.run_process(
            ["node", str(CLIENTS / "node.mjs"), str(daemon.address)],
            env={"PATH": os.environ["PATH"], "NODE_MSGPACK": str(msgpack_js)},
            capture_stdout=True,
            capture_stderr=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr.decode()
    shown = json.loads(done.stdout)
    assert shown.pop("unknown").startswith("not_implemented: unknown method")
    assert shown.pop("filter").startswith("invalid_argument: filters: parse error")
    assert shown.pop("namespace").startswith("failed_precondition: namespace is req")
    assert "nmae" in shown.pop("argument")
    assert shown.pop("cancelled").startswith("canceled")
    assert shown == {
        "images": [NAME],
        "many": 200,
        "blob": [0, 1, 254, 255],
        "features": ["streams"],
        "own": True,
        "items": 500,
        "dated": True,
        "at": "1970-01-01T00:00:01.500Z",
    }


# --- a socket and a msgpack library


class Bare:
    """Messages as they are, on a blocking socket."""

    def __init__(self, address: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(20)
        self.socket.connect(str(address))
        self._unpacker = msgpack.Unpacker(raw=False)

    def send(self, *messages: list[Any]) -> None:
        self.socket.sendall(b"".join(msgpack.packb(one) for one in messages))

    def receive(self) -> Any:
        for message in self._unpacker:
            return message
        while data := self.socket.recv(65536):
            self._unpacker.feed(data)
            for message in self._unpacker:
                return message
        return None


@pytest.fixture
def bare(daemon: RunningDaemon) -> Iterator[Bare]:
    made = Bare(daemon.address)
    with made.socket:
        yield made


async def test_a_bare_socket_may_send_one_byte_at_a_time(bare: Bare) -> None:
    for byte in msgpack.packb([0, 7, "images.v1.list", [{}, NS]]):
        bare.socket.sendall(bytes([byte]))
    kind, msgid, error, result = bare.receive()
    assert (kind, msgid, error) == (1, 7, None)
    assert result["images"][0]["name"] == NAME


async def test_every_message_number_and_form_of_no_arguments_is_fine(
    bare: Bare,
) -> None:
    forms: list[tuple[int, list[Any]]] = [
        (0, []),
        (2**32 - 1, [None]),
        (1, [{}]),
        (2, [[]]),
        (3, [None, None]),
    ]
    for msgid, params in forms:
        bare.send([0, msgid, b"events.v1.bounds", params])
        assert bare.receive() == [1, msgid, None, {"bounds": {"first": 1, "last": 1}}]


async def test_a_call_that_waits_does_not_hold_up_the_next(bare: Bare) -> None:
    bare.send(
        [0, 1, "events.v1.poll", [{"wait": 30}]],
        [0, 2, "events.v1.bounds", []],
    )
    assert bare.receive()[1] == 2
    event: dict[str, Any] = {"type_url": "t", "value": {}}
    bare.send([0, 3, "events.v1.publish", [{"topic": "/a", "event": event}, NS]])
    assert sorted(bare.receive()[1] for _ in range(2)) == [1, 3]


async def test_an_unknown_notification_is_ignored(bare: Bare) -> None:
    bare.send([2, b"nvim_set_client_info", ["x", {}]], [0, 1, "events.v1.bounds", []])
    assert bare.receive()[1] == 1


async def test_who_agrees_on_timestamps_gets_them_to_the_nanosecond(
    bare: Bare, daemon: RunningDaemon
) -> None:
    bare.send([0, 1, "rpc.v1.hello", [{"features": ["timestamp"]}]])
    assert bare.receive()[3]["features"] == ["timestamp"]
    plain = Bare(daemon.address)
    with plain.socket:
        for one in (plain, bare):
            one.send(
                [0, 2, "images.v1.get", [{"name": NAME}, NS]],
                [0, 3, "images.v1.list", [{}, NS]],
            )
        integers = [plain.receive()[3] for _ in range(2)]
        stamped = [bare.receive()[3] for _ in range(2)]
    image, (listed,) = stamped[0]["image"], stamped[1]["images"]
    assert image == listed
    assert integers == [{"image": as_integers(image)}, {"images": [as_integers(image)]}]

    at = msgpack.Timestamp(5, 123_456_789)
    envelope: dict[str, Any] = {"timestamp": at, "namespace": "default", "topic": "/x"}
    envelope["event"] = {"type_url": "t", "value": {"at": 5}}
    bare.send([0, 4, "events.v1.forward", [{"envelope": envelope}]])
    seq = bare.receive()[3]["seq"]
    bare.send([0, 5, "events.v1.subscribe", [{"since": 0}]])
    items = [bare.receive()[2][1]["envelope"] for _ in range(seq)]
    assert items[0]["timestamp"] == image["created_at"]
    assert items[-1] == {**envelope, "seq": seq}
    # One that comes while they are subscribed leaves another way.
    bare.send([0, 6, "events.v1.forward", [{"envelope": envelope}]])
    messages = sorted(bare.receive() for _ in range(2))
    assert messages[0][:2] == [1, 6]
    assert messages[1][2][1]["envelope"] == {**envelope, "seq": seq + 1}


def as_integers(image: dict[str, Any]) -> dict[str, Any]:
    times = {name: image[name].to_unix_nano() for name in ("created_at", "updated_at")}
    return image | times


async def test_what_is_no_message_ends_the_connection_and_no_other(
    bare: Bare, daemon: RunningDaemon
) -> None:
    other = Bare(daemon.address)
    with other.socket:
        bare.socket.sendall(b"GET / HTTP/1.1\r\n\r\n")
        kind, method, (text,) = bare.receive()
        assert (kind, method) == (2, "$/error")
        assert text.startswith("invalid_argument: not a msgpack-RPC message")
        assert bare.receive() is None
        other.send([0, 1, "events.v1.bounds", []])
        assert other.receive()[2] is None
