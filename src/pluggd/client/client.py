# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The typed client for programs that run on trio.

Its members are the services' own Protocols, so code that works with a plugin's
service in process works with a client's, errors included. It does not reconnect:
what a lost connection means for what was under way is the caller's to decide.
"""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import trio

from pluggd import __version__
from pluggd.client.connection import Connection
from pluggd.client.lost import connect_failed
from pluggd.client.stubs import make_stub
from pluggd.errors import NotImplemented_
from pluggd.services.containers import CONTAINERS, Containers
from pluggd.services.content import CONTENT, Content
from pluggd.services.diff import DIFF, Diff
from pluggd.services.events import EVENTS, Events
from pluggd.services.gc import GC, Gc
from pluggd.services.images import IMAGES, Images
from pluggd.services.introspection import INTROSPECTION, Introspection
from pluggd.services.kind import Kind
from pluggd.services.leases import LEASES, Leases
from pluggd.services.management import MANAGEMENT, Management
from pluggd.services.namespaces import NAMESPACES, Namespaces
from pluggd.services.snapshots import SNAPSHOTS, Snapshots
from pluggd.services.specs import SPECS, Specs
from pluggd.services.tasks import TASKS, Tasks
from pluggd.services.transfer import TRANSFER, Transfer
from pluggd.services.unpack import UNPACK, Unpack
from pluggd.wire.messages import HELLO, OWN_FEATURES

T = TypeVar("T")


class Client:
    """The services behind one connection; made by `connect`.

    Each call takes namespace and lease from `pluggd.services.call` (as in `with
    call.using(namespace="ci", lease=id):`), the namespace otherwise from the client,
    and the deadline from trio. Cancelling a call cancels it in the daemon.

    Calls raise the classes of pluggd.errors with the daemon's text, and
    `ConnectionLost` (which is Unavailable) when the connection is gone.
    """

    def __init__(
        self, connection: Connection, namespace: str, server: dict[str, Any]
    ) -> None:
        self.connection = connection
        self._stubs: dict[str, Any] = {}
        self.namespace = namespace
        self.server = server
        """What the daemon said to hello: `version`, `limits`, `features`."""

    def get(self, kind: Kind[T]) -> T:
        """Any service by its kind, an operator's own too.

        Raises TypeError for a kind that declares no served method. Whether the daemon
        has it shows with the first call, as NotImplemented.
        """
        stub: T | None = self._stubs.get(kind.name)
        if stub is None:
            stub = make_stub(kind, lambda: self.connection, self.namespace)
            self._stubs[kind.name] = stub
        return stub

    @property
    def images(self) -> Images:
        return self.get(IMAGES)

    @property
    def content(self) -> Content:
        return self.get(CONTENT)

    @property
    def namespaces(self) -> Namespaces:
        return self.get(NAMESPACES)

    @property
    def leases(self) -> Leases:
        return self.get(LEASES)

    @property
    def containers(self) -> Containers:
        return self.get(CONTAINERS)

    @property
    def events(self) -> Events:
        return self.get(EVENTS)

    @property
    def gc(self) -> Gc:
        return self.get(GC)

    @property
    def introspection(self) -> Introspection:
        return self.get(INTROSPECTION)

    @property
    def management(self) -> Management:
        return self.get(MANAGEMENT)

    @property
    def transfer(self) -> Transfer:
        return self.get(TRANSFER)

    @property
    def tasks(self) -> Tasks:
        return self.get(TASKS)

    @property
    def specs(self) -> Specs:
        return self.get(SPECS)

    @property
    def snapshots(self) -> Snapshots:
        return self.get(SNAPSHOTS)

    @property
    def unpack(self) -> Unpack:
        return self.get(UNPACK)

    @property
    def diff(self) -> Diff:
        return self.get(DIFF)


@asynccontextmanager
async def connect(
    address: str | os.PathLike[str], *, namespace: str = "", timeout: float = 10.0
) -> AsyncGenerator[Client]:
    """Connect to the daemon's socket while the block runs.

    namespace: for calls outside of any `call.using(namespace=...)`. timeout: seconds
    for the connection and the first exchange. Raises ConnectFailed (Unavailable).
    """
    path = os.fspath(address)
    late = connect_failed(path, TimeoutError("it does not answer"))
    connection: Connection | None = None
    server: dict[str, Any] | None = None
    try:
        with trio.move_on_after(timeout):
            connection = Connection(await _open(path), path)
            connection.start()
            server = await _hello(connection)
        if connection is None or server is None:
            raise late
        yield Client(connection, namespace, server)
    finally:
        if connection is not None:
            await connection.close()


async def _open(path: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        while True:
            try:
                sock.connect(path)
                return sock
            except BlockingIOError:  # its backlog is full, and nothing tells when not
                await trio.sleep(0.01)
    except OSError as error:
        sock.close()
        raise connect_failed(path, error) from None
    except BaseException:
        sock.close()
        raise


async def _hello(connection: Connection) -> dict[str, Any]:
    exchange = connection.begin(
        HELLO, {"client": f"pluggd/{__version__}", "features": list(OWN_FEATURES)}, {}
    )
    await exchange.answered.wait()
    if isinstance(exchange.error, NotImplemented_):
        return {}  # an older or foreign server: the default profile
    if exchange.error is not None:
        raise exchange.error
    server: dict[str, Any] = exchange.result
    connection.features = frozenset(server.get("features", ()))
    return server
