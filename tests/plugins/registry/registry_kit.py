# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Registries for the tests: Debian's real one, and one that says what a test wants.

Images are made by umoci and brought there by skopeo, so that nothing of what is pulled
was written by pluggd.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h11
import pytest
import trio

from pluggd.client import Client
from pluggd.services.transfer import Progress, Pulled, Pushed
from pluggd.testing import RunningDaemon
from plugins.diff.work.zstd import ZstdCompressor
from tests.ports import reserved_port

TOOLS = ("docker-registry", "skopeo", "umoci")

needs_registry = pytest.mark.skipif(
    not all(map(shutil.which, TOOLS)),
    reason="needs docker-registry, skopeo and umoci (Debian packages of these names)",
)

USER, PASSWORD = "tester", "secret-of-the-tests"
HTPASSWD = f"{USER}:$2y$04$f12RwNeauaVc5RsoxS6bTOQAY9.2SeL4zPnwpF.RA7I12BXFOZ3NK\n"


def run(*command: str, cwd: Path | None = None) -> str:
    done = subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


# --- the real one


@dataclass
class Registry:
    """A docker-registry. host: as in names of images."""

    host: str
    log: Path

    def requests(self, *parts: str) -> list[str]:
        """Lines of its access log that have all these parts, `"GET /v2/...`."""
        return [
            line
            for line in self.log.read_text(errors="replace").splitlines()
            if '" ' in line and all(part in line for part in parts)
        ]

    async def logged(self, *parts: str, count: int = 1) -> None:
        """Wait until it has written at least so many."""
        while len(self.requests(*parts)) < count:
            await trio.lowlevel.checkpoint()

    async def told(self, count: int, *parts: str) -> None:
        """Wait until it has written so many lines; it does that after it answered."""
        await self.logged(*parts, count=count)
        assert len(self.requests(*parts)) == count


@contextmanager
def docker_registry(
    directory: Path, extra: str = "", *, http: str = ""
) -> Generator[Registry]:
    """Run one, with its storage below `directory`; YAML of auth and of http to add."""
    directory.mkdir(parents=True, exist_ok=True)
    with reserved_port() as port:
        yield from _docker_registry(directory, port, extra, http)


def _docker_registry(
    directory: Path, port: int, extra: str, http: str
) -> Generator[Registry]:
    config = directory / f"config-{port}.yml"
    config.write_text(
        f"""\
version: 0.1
storage: {{filesystem: {{rootdirectory: {directory}/data}}}}
log: {{level: error}}
http:
  addr: 127.0.0.1:{port}
{http}
{extra}
"""
    )
    log = directory / f"log-{port}"
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["docker-registry", "serve", str(config)], stdout=output, stderr=output
        )
    try:
        end = time.monotonic() + 30
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end, "docker-registry does not listen"
            time.sleep(0.01)
        yield Registry(f"127.0.0.1:{port}", log)
    finally:
        process.kill()
        process.wait()


def copy_in(
    layout: Path, tag: str, registry: Registry, name: str, *options: str
) -> None:
    """Push an image of an OCI layout with skopeo."""
    run(
        # As it is: otherwise skopeo may take a layer that it knows to hold the same.
        *("skopeo", "copy", "--quiet", "--preserve-digests"),
        *("--dest-tls-verify=false", *options),
        *(f"oci:{layout}:{tag}", f"docker://{registry.host}/{name}"),
    )


def make_images(directory: Path) -> Path:
    """A layout by umoci: `single`, `many` (twenty layers), `multi` (an index), and
    `zstd`, which is `single` compressed otherwise."""
    layout = directory / "layout"
    run("umoci", "init", "--layout", str(layout))
    run("umoci", "new", "--image", f"{layout}:single")
    file = directory / "file"
    file.write_bytes(os.urandom(300_000))
    _insert(f"{layout}:single", file, "/data")
    run("umoci", "tag", "--image", f"{layout}:single", "many")
    for number in range(19):
        file.write_bytes(os.urandom(2_000))
        _insert(f"{layout}:many", file, f"/layer-{number}")
    entries: list[dict[str, Any]] = []
    for architecture in ("amd64", "arm64", "arm"):
        tag = f"for-{architecture}"
        run("umoci", "tag", "--image", f"{layout}:single", tag)
        run(
            *("umoci", "config", "--image", f"{layout}:{tag}"),
            *("--architecture", architecture, "--no-history"),
        )
        entries.append(
            {
                **descriptor_of(layout, tag),
                "platform": {"os": "linux", "architecture": architecture},
            }
        )
    kind = "application/vnd.oci.image.index.v1+json"
    index = {"schemaVersion": 2, "mediaType": kind, "manifests": entries}
    add_entry(layout, "multi", index)
    unstated = [
        {key: value for key, value in entry.items() if key != "platform"}
        for entry in reversed(entries)
    ]
    add_entry(layout, "unstated", {**index, "manifests": unstated})
    add_zstd(layout, "single", "zstd")
    return layout


def add_zstd(layout: Path, tag: str, new: str) -> None:
    """A further image of a layout: the same files, in layers compressed with zstd.

    Done here because skopeo brings a layer that is compressed already as it is, whatever
    --dest-compress-format says.
    """
    blobs = layout / "blobs/sha256"
    manifest = json.loads(
        (blobs / descriptor_of(layout, tag)["digest"][7:]).read_text()
    )
    for layer in manifest["layers"]:
        plain = gzip.decompress((blobs / layer["digest"][7:]).read_bytes())
        compressor = ZstdCompressor()
        data = compressor.compress(plain) + compressor.flush()
        layer["mediaType"] = "application/vnd.oci.image.layer.v1.tar+zstd"
        layer["digest"], layer["size"] = digest(data), len(data)
        (blobs / layer["digest"][7:]).write_bytes(data)
    kind = "application/vnd.oci.image.manifest.v1+json"
    add_entry(layout, new, {**manifest, "mediaType": kind})


def _insert(image: str, file: Path, target: str) -> None:
    run("umoci", "insert", "--rootless", "--image", image, str(file), target)


def descriptor_of(layout: Path, tag: str) -> dict[str, Any]:
    """Media type, digest and size of an image of a layout."""
    index = json.loads((layout / "index.json").read_text())
    (found,) = [
        one
        for one in index["manifests"]
        if one["annotations"]["org.opencontainers.image.ref.name"] == tag
    ]
    return {key: found[key] for key in ("mediaType", "digest", "size")}


def add_entry(layout: Path, tag: str, document: dict[str, Any]) -> None:
    """Put a manifest or index into a layout."""
    import hashlib

    data = json.dumps(document).encode()
    value = hashlib.sha256(data).hexdigest()
    (layout / "blobs/sha256" / value).write_bytes(data)
    index = json.loads((layout / "index.json").read_text())
    index["manifests"].append(
        {
            "mediaType": document["mediaType"],
            "digest": f"sha256:{value}",
            "size": len(data),
            "annotations": {"org.opencontainers.image.ref.name": tag},
        }
    )
    (layout / "index.json").write_text(json.dumps(index))


# --- one that says what a test wants


@dataclass
class Answer:
    """A response. length: what Content-Length says, when it is not the body's; stop:
    break the connection after so many bytes of the body; sized: whether it says a length
    at all."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict[str, str])
    body: bytes = b""
    length: int | None = None
    stop: int | None = None
    endless: bool = False
    sized: bool = True


@dataclass
class Asked:
    """A request as it came."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


Handler = Callable[[Asked], Awaitable[Answer] | Answer]


class ScriptedServer:
    """HTTP by the rules, with the answers of a test. asked: what came, in order."""

    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self.asked: list[Asked] = []
        self.host = ""

    def lines(self) -> list[str]:
        return [f"{one.method} {one.target}" for one in self.asked]

    async def serve(self, stream: trio.SocketStream) -> None:
        connection = h11.Connection(h11.SERVER)

        async def next_event() -> Any:
            while True:
                event = connection.next_event()
                if event is not h11.NEED_DATA:
                    return event
                connection.receive_data(await stream.receive_some(65536))

        async with stream:
            while True:
                try:
                    request = await next_event()
                except (h11.RemoteProtocolError, trio.BrokenResourceError):
                    return
                if not isinstance(request, h11.Request):
                    return
                body = b""
                while isinstance(event := await next_event(), h11.Data):
                    body += event.data
                asked = Asked(
                    request.method.decode(),
                    request.target.decode(),
                    {key.decode(): value.decode() for key, value in request.headers},
                    body,
                )
                self.asked.append(asked)
                answer = self.handler(asked)
                if not isinstance(answer, Answer):
                    answer = await answer
                try:
                    if not await self._send(stream, connection, asked, answer):
                        return
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    return
                connection.start_next_cycle()

    async def _send(
        self,
        stream: trio.SocketStream,
        connection: h11.Connection,
        asked: Asked,
        answer: Answer,
    ) -> bool:
        """Whether the connection can be used again."""
        length = len(answer.body) if answer.length is None else answer.length
        sized = (
            {"Transfer-Encoding": "chunked"}
            if answer.endless or not answer.sized
            else {"Content-Length": str(length)}
        )
        headers = {**sized, **answer.headers}
        response = h11.Response(status_code=answer.status, headers=[*headers.items()])
        await stream.send_all(connection.send(response) or b"")
        if asked.method == "HEAD":
            await stream.send_all(connection.send(h11.EndOfMessage()) or b"")
            return True
        while answer.endless:
            await stream.send_all(connection.send(h11.Data(data=bytes(65536))) or b"")
        body = answer.body if answer.stop is None else answer.body[: answer.stop]
        if body:
            await stream.send_all(connection.send(h11.Data(data=body)) or b"")
        if answer.stop is not None:
            return False
        await stream.send_all(connection.send(h11.EndOfMessage()) or b"")
        return True


@asynccontextmanager
async def scripted(handler: Handler) -> AsyncGenerator[ScriptedServer]:
    """A server on localhost while the block runs."""
    server = ScriptedServer(handler)
    async with trio.open_nursery() as nursery:
        port = await nursery.start(_listen, server)
        server.host = f"127.0.0.1:{port}"
        yield server
        nursery.cancel_scope.cancel()


async def _listen(
    server: ScriptedServer, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED
) -> None:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    async with trio.open_nursery() as nursery:
        await nursery.start(trio.serve_listeners, server.serve, listeners)
        task_status.started(port)


@dataclass
class SmallImage:
    """An image in memory, and a handler that serves it honestly."""

    layer: bytes = b"layer " * 5000
    path: str = "library/x"
    media_type: str = "application/vnd.oci.image.manifest.v1+json"
    layer_size: int | None = None
    layer_type: str = "application/vnd.oci.image.layer.v1.tar"
    urls: Sequence[str] = ()

    def __post_init__(self) -> None:
        config = json.dumps(
            {"os": "linux", "architecture": "amd64", "rootfs": {"diff_ids": []}}
        ).encode()
        self.blobs = {digest(config): config, digest(self.layer): self.layer}
        self.manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": self.media_type,
                "config": {
                    "mediaType": "application/vnd.oci.image.config.v1+json",
                    "digest": digest(config),
                    "size": len(config),
                },
                "layers": [
                    {
                        "mediaType": self.layer_type,
                        "digest": digest(self.layer),
                        "size": self.layer_size or len(self.layer),
                        **({"urls": [*self.urls]} if self.urls else {}),
                    }
                ],
            }
        ).encode()

    @property
    def layer_path(self) -> str:
        return f"/v2/{self.path}/blobs/{digest(self.layer)}"

    def answer(self, asked: Asked) -> Answer:
        target = asked.target.partition("?")[0]
        prefix = f"/v2/{self.path}/"
        kind, _, name = target.removeprefix(prefix).partition("/")
        names = ("latest", digest(self.manifest))
        if target.startswith(prefix) and kind == "manifests" and name in names:
            return Answer(
                headers={
                    "Content-Type": self.media_type,
                    "Docker-Content-Digest": digest(self.manifest),
                },
                body=self.manifest,
            )
        if target.startswith(prefix) and kind == "blobs" and name in self.blobs:
            data = self.blobs[name]
            start = asked.headers.get("range", "").removeprefix("bytes=").rstrip("-")
            if start:
                ranged = f"bytes {start}-{len(data) - 1}/{len(data)}"
                return Answer(206, {"Content-Range": ranged}, data[int(start) :])
            return Answer(body=data)
        return Answer(404)


def digest(data: bytes) -> str:
    import hashlib

    return f"sha256:{hashlib.sha256(data).hexdigest()}"


# --- pulling


@dataclass
class Pull:
    """What a pull came to. items: its progress, in order."""

    result: Pulled
    items: list[Progress]

    def events(self, prefix: str) -> list[str]:
        """The events of the blobs of this kind."""
        return [one.event for one in self.items if one.name.startswith(prefix)]

    def last(self, *prefixes: str) -> list[Progress]:
        """What was told last of each blob of these kinds."""
        found = {one.name: one for one in self.items if one.name.startswith(prefixes)}
        return list(found.values())


async def pull(client: Client, name: str, **options: Any) -> Pull:
    send, receive = trio.open_memory_channel[Progress](float("inf"))
    result = await client.transfer.pull(name=name, progress=send, **options)
    await send.aclose()
    return Pull(result, [item async for item in receive])


async def push(client: Client, name: str, **options: Any) -> Pushed:
    send, _receive = trio.open_memory_channel[Progress](float("inf"))
    pushed: Pushed = await client.transfer.push(name=name, progress=send, **options)
    return pushed


def pluggctl(daemon: RunningDaemon, *arguments: str) -> Sequence[str]:
    return (
        *(sys.executable, "-m", "pluggd.cli.pluggctl"),
        *("--address", str(daemon.address), *arguments),
    )


def kept(root: Path) -> set[str]:
    """The files of the content store, by path below it."""
    (store,) = root.glob("pluggd.content.v1.*")
    files = {path for path in store.rglob("*") if path.is_file() and path.name != "id"}
    return {str(path.relative_to(store)) for path in files}
