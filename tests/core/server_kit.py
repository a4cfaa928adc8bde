# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""A toy service, a client that speaks raw messages, and a running server of either form."""

from __future__ import annotations

import array
import os
import socket
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal, Protocol

import trio

from pluggd.core.dispatch import Dispatcher
from pluggd.core.server import serve
from pluggd.core.stream_server import serve_streams
from pluggd.errors import NotFound
from pluggd.model.record import Encoded, Record, encode
from pluggd.plugin import Deferred, deferred, inline, inline_encoded
from pluggd.services import call
from pluggd.services.kind import Kind
from pluggd.services.rpc import Fd, Receive, Send, rpc
from pluggd.wire.decoder import Decoder
from pluggd.wire.encoder import encode_request
from pluggd.wire.limits import TRUSTING, Limits
from pluggd.wire.messages import Notification, Request, Response

Form = Literal["epoll", "streams"]


class Point(Record, frozen=True):
    """A point. x: to the right."""

    x: int = 0
    y: int = 0
    labels: dict[str, str] = {}


class Shape(Record, frozen=True):
    name: str
    corners: list[Point] = []
    inner: Shape | None = None


class Tick(Record, frozen=True):
    n: int = 0


class Part(Record, frozen=True):
    at: int = 0
    data: bytes = b""


class OpenedFile(Record, frozen=True):
    name: str
    fd: Fd


class Who(Record, frozen=True):
    namespace: str = ""
    lease: str = ""
    uid: int = -1
    pid: int = -1
    request: str = ""
    traceparent: str = ""


def pattern(size: int) -> bytes:
    """Bytes of which each part looks different."""
    return b"".join(n.to_bytes(4, "big") for n in range(size // 4 + 1))[:size]


class Toy(Protocol):
    """A service of every sort of method."""

    @rpc(result="point", namespaced=False)
    async def get(self, *, name: str, scale: int = 1) -> Point:
        """Get a point. name: which one. scale: times this. Raises NotFound."""
        ...

    @rpc(result="point", namespaced=False)
    async def stored(self, *, name: str) -> Point: ...

    @rpc(result="shape", namespaced=False)
    async def put(self, *, shape: Shape, data: bytes = b"") -> Shape: ...

    @rpc(namespaced=False)
    async def sleep(self, *, seconds: float) -> None: ...

    @rpc(result="text", namespaced=False)
    async def later(self, *, text: str) -> str: ...

    @rpc()
    async def who(self) -> Who: ...

    @rpc(result="text", namespaced=False)
    async def import_(self, *, text: str) -> str: ...

    @rpc(namespaced=False)
    async def bug(self, *, grouped: bool = False) -> None: ...

    @rpc(namespaced=False)
    async def inline_bug(self) -> None: ...

    @rpc(result="data", namespaced=False)
    async def blob(self, *, size: int) -> bytes: ...

    @rpc(namespaced=False, waits=True)
    async def ticks(self, *, count: int, out: Send[Encoded[Tick]]) -> None: ...

    @rpc(result="part", namespaced=False)
    async def part(self, *, at: int, size: int) -> Part: ...

    @rpc(namespaced=False)
    async def parts(self, *, size: int, out: Send[bytes]) -> None: ...

    @rpc(result="sent", namespaced=False)
    async def fetch(self, *, size: int, out: Send[bytes]) -> int: ...

    @rpc(result="total", namespaced=False)
    async def total(self, *, source: Receive[bytes]) -> int: ...

    @rpc(namespaced=False)
    async def open(self, *, path: str) -> OpenedFile: ...

    @rpc(namespaced=False)
    async def write_to(self, *, fd: Fd | None = None, text: str) -> None: ...

    @rpc(namespaced=False)
    async def newer(self) -> None: ...


TOY = Kind("pluggd.toy.v1", Toy)


class ToyService:
    """Has all methods but `newer`, as an older plugin would."""

    def __init__(self) -> None:
        self.started = 0
        self.cancelled = 0
        self.ticks_sent = 0
        self.handed_on: list[tuple[str, Deferred[str]]] = []
        self.wake = trio.Event()
        """Ends every `sleep`."""

    @inline
    def get(self, *, name: str, scale: int = 1) -> Point:
        if name != "p":
            raise NotFound(f'point "{name}": not found')
        return Point(x=1 * scale, y=2 * scale)

    @inline_encoded
    def stored(self, *, name: str) -> Encoded[Point]:
        return Encoded(encode(Point(x=7, labels={"of": name})), Point)

    @inline
    def put(self, *, shape: Shape, data: bytes = b"") -> Shape:
        return Shape(name=f"{shape.name}:{data!r}", corners=shape.corners)

    async def sleep(self, *, seconds: float) -> None:
        self.started += 1
        try:
            with trio.move_on_after(seconds):
                await self.wake.wait()
        except trio.Cancelled:
            self.cancelled += 1
            raise

    @deferred
    def later(self, *, text: str) -> Deferred[str]:
        """Answered by whoever settles what is in `handed_on`, or at once for "now"."""
        if text == "no":
            raise NotFound("no: not found")
        outcome = Deferred[str]()
        self.handed_on.append((text, outcome))
        if text == "now":
            outcome.succeed(text)
        return outcome

    async def who(self) -> Who:
        await trio.lowlevel.checkpoint()
        current = call.current_call.get()
        peer = current.peer
        return Who(
            namespace=call.namespace(),
            lease=call.lease(),
            uid=peer.uid if peer else -1,
            pid=peer.pid if peer else -1,
            request=current.request,
            traceparent=current.traceparent,
        )

    async def import_(self, *, text: str) -> str:
        await trio.lowlevel.checkpoint()
        return text.upper()

    async def bug(self, *, grouped: bool = False) -> None:
        if grouped:
            async with trio.open_nursery():
                raise NotFound("found in a group: not found")
        raise RuntimeError("secret of the daemon")

    @inline
    def inline_bug(self) -> None:
        raise RuntimeError("secret of the daemon")

    @inline
    def blob(self, *, size: int) -> bytes:
        return bytes(size)

    async def part(self, *, at: int, size: int) -> Part:
        return Part(at=at, data=pattern(size))

    async def parts(self, *, size: int, out: Send[bytes]) -> None:
        await out.send(pattern(size))

    async def ticks(self, *, count: int, out: Send[Encoded[Tick]]) -> None:
        for n in range(count):
            await out.send(Encoded(encode(Tick(n=n)), Tick))
            self.ticks_sent += 1

    async def fetch(self, *, size: int, out: Send[bytes]) -> int:
        await out.send(b"x" * size)
        return size

    async def total(self, *, source: Receive[bytes]) -> int:
        size = 0
        async for item in source:
            assert isinstance(item, bytes)
            size += len(item)
        return size

    async def open(self, *, path: str) -> OpenedFile:
        await trio.lowlevel.checkpoint()
        return OpenedFile(name=path, fd=Fd(os.open(path, os.O_RDONLY | os.O_CLOEXEC)))

    async def write_to(self, *, fd: Fd | None = None, text: str) -> None:
        await trio.lowlevel.checkpoint()
        assert fd is not None
        os.write(fd, text.encode())
        os.close(fd)


class RawClient:
    """One connection; sends bytes, gets messages."""

    def __init__(self, sock: trio.socket.SocketType) -> None:
        self.sock = sock
        self.fds: list[int] = []
        self.notifications: list[Notification] = []
        self.decoder = Decoder(TRUSTING)
        self.msgids = iter(range(2**32))
        self.inbox: list[Request | Response | Notification] = []

    async def send(self, data: bytes, fds: list[int] | None = None) -> None:
        if fds:
            rights = array.array("i", fds).tobytes()
            sent = await self.sock.sendmsg(
                [data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)]
            )
            data = data[sent:]
        while data:
            data = data[await self.sock.send(data) :]

    async def message(self) -> Request | Response | Notification | None:
        """The next message, or None at the end."""
        with trio.fail_after(20):
            while not self.inbox:
                size = socket.CMSG_SPACE(64)
                data, ancillary, _, _ = await self.sock.recvmsg(65536, size)
                for _level, _type, raw in ancillary:
                    self.fds += array.array("i", raw)
                if not data:
                    return None
                self.inbox += self.decoder.feed(data)
            return self.inbox.pop(0)

    async def response(self) -> Response:
        """The next response; notifications on the way are kept."""
        while True:
            message = await self.message()
            if isinstance(message, Response):
                return message
            assert isinstance(message, Notification), message
            self.notifications.append(message)

    async def call(
        self, method: str, arguments: Any = None, metadata: Any = None
    ) -> Response:
        await self.send(self.request(method, arguments, metadata))
        return await self.response()

    def request(
        self, method: str, arguments: Any = None, metadata: Any = None
    ) -> bytes:
        return encode_request(next(self.msgids), method, arguments, metadata)

    async def result(self, method: str, **arguments: Any) -> Any:
        response = await self.call(method, arguments)
        assert response.error is None, response.error
        return response.result

    async def error(self, method: str, **arguments: Any) -> Any:
        return (await self.call(method, arguments)).error

    def close(self) -> None:
        self.sock.close()


class Running:
    """A server and what a test wants to know of it."""

    def __init__(self, address: str, dispatcher: Dispatcher, toy: ToyService) -> None:
        self.address = address
        self.dispatcher = dispatcher
        self.toy = toy
        self.stop = trio.Event()
        self.hurry = trio.Event()
        self.stopped = trio.Event()
        self.cancel: Callable[[], None] = lambda: None
        self._clients: list[RawClient] = []

    async def connect(self, *features: str) -> RawClient:
        sock = trio.socket.socket(socket.AF_UNIX)
        client = RawClient(sock)
        self._clients.append(client)
        await sock.connect(self.address)
        if features:
            welcome = await client.result("rpc.v1.hello", features=features)
            assert welcome.get("features", []) == list(features)
        return client

    async def handed_on(self, count: int) -> None:
        """Until the toy was asked so often for something later."""
        with trio.fail_after(20):
            while len(self.toy.handed_on) < count:
                await trio.lowlevel.checkpoint()

    async def settled(self) -> None:
        """Until no call is in flight any more."""
        with trio.fail_after(20):
            while self.dispatcher.statistics.in_flight:
                await trio.lowlevel.checkpoint()

    def close(self) -> None:
        for client in self._clients:
            client.close()


def listen(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(128)
    return listener


@asynccontextmanager
async def running(
    form: Form,
    path: Path,
    *,
    limits: Limits | None = None,
    dispatcher: Dispatcher | None = None,
    grace: float = 5.0,
) -> AsyncGenerator[Running]:
    if dispatcher is None:
        dispatcher = Dispatcher(limits, version="1.2.3")
    toy = ToyService()
    dispatcher.add(TOY, toy, "pluggd.toy.v1.test")
    server = Running(str(path / "s"), dispatcher, toy)

    async def serving(task_status: trio.TaskStatus[None]) -> None:
        function = serve if form == "epoll" else serve_streams
        await function(
            listen(path / "s"),
            dispatcher,
            stop=server.stop,
            grace=grace,
            hurry=server.hurry,
            task_status=task_status,
        )
        server.stopped.set()

    async with trio.open_nursery() as nursery:
        server.cancel = nursery.cancel_scope.cancel
        await nursery.start(serving)
        try:
            yield server
        finally:
            server.close()
        nursery.cancel_scope.cancel()


def open_fds() -> Iterator[str]:
    """The descriptors of this process, by what they are."""
    for name in os.listdir("/proc/self/fd"):
        try:
            yield f"{name} -> {os.readlink(f'/proc/self/fd/{name}')}"
        except FileNotFoundError:
            continue
