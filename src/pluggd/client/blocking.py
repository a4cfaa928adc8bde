# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""A client for scripts: one blocking socket and msgpack, nothing else.

It starts in some 20 ms because it imports neither trio nor msgspec nor the
services: arguments and results are the plain maps of docs/rpc.md. `pluggctl` is
made of it. Programs that run on trio want `pluggd.client.connect`.

Not thread-safe; several streams may be open at a time on one client.
"""

from __future__ import annotations

import os
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NoReturn

import msgpack

from pluggd import __version__, errors
from pluggd.client.lost import connect_failed, connection_lost, reason
from pluggd.client.paging import PAGE, records
from pluggd.client.plain import Fields, is_map

REQUEST, RESPONSE, NOTIFICATION = 0, 1, 2
FEATURES = ("error_map", "fds", "streams")
MAX_FDS = 16  # descriptors in one message; the daemon never sends more than one
READ = 1 << 18
CREDIT = 8  # items that any method takes before it grants more (services.schema)
GRACE = 2.0  # seconds after a deadline in which the daemon's own answer may arrive


class Stream:
    """A call under way: iterate over its items, then read its `result`.

    Made by `Client.stream`. As a context manager it cancels the call when the block
    is left early. Iterating raises the call's error, as does `result`.
    """

    def __init__(self, client: Client, msgid: int, deadline: float | None) -> None:
        self._client = client
        self._msgid = msgid
        self._deadline = deadline
        self._items: deque[Any] = deque()
        self._credit = CREDIT
        self._error: errors.PluggdError | None = None
        self._result: Any = None
        self._answered = False
        self.fds: list[int] = []
        """Descriptors that came with the response; the caller closes them."""

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Any]:
        while True:
            item = self._next()
            if item is _NOTHING:
                return
            yield item

    def send(self, item: Any) -> bool:
        """Send an item, waiting for credit; False when the call is over already."""
        while self._credit <= 0 and not self._answered:
            self._client.receive(self._deadline)
        if self._answered:
            return False
        self._credit -= 1
        self._client.notify("$/item", [self._msgid, item])
        return True

    def end(self) -> None:
        """Say that no more items follow. The call goes on until its response."""
        if not self._answered:
            self._client.notify("$/end", [self._msgid])

    @property
    def credit(self) -> int:
        """How many items can be sent now without waiting."""
        return self._credit

    @property
    def answered(self) -> bool:
        """Whether the call is over; items may be left."""
        return self._answered

    def arrived(self) -> list[Any]:
        """The items that are there now, without waiting."""
        self._client.receive_ready()
        found: list[Any] = []
        while self._items:
            found.append(self._take())
        return found

    @property
    def result(self) -> Fields:
        """What the call returned, after waiting for it; items left are dropped."""
        while not self._answered or self._items:
            if self._next() is _NOTHING:
                break
        if self._error is not None:
            raise self._error
        result: object = self._result
        return result if is_map(result) else {}

    def close(self) -> None:
        """Cancel the call unless it is answered, and wait until it is."""
        if self._answered or self._client.closed:
            return
        self._client.notify("$/cancel", [self._msgid])
        deadline = time.monotonic() + GRACE
        try:
            while not self._answered:
                self._client.receive(deadline)
        except errors.PluggdError:
            self._client.close()  # it does not answer; nobody else shares this socket
        for fd in self.fds:
            os.close(fd)
        self.fds = []

    def _next(self) -> Any:
        while not self._items and not self._answered:
            self._client.receive(self._deadline)
        if self._items:
            return self._take()
        if self._error is not None:
            raise self._error
        return _NOTHING

    def _take(self) -> Any:
        item = self._items.popleft()
        if not self._answered:
            self._client.notify("$/credit", [self._msgid, 1])
        return item

    # --- called by the client as messages arrive

    def add_item(self, item: Any) -> None:
        self._items.append(item)

    def add_credit(self, count: int) -> None:
        self._credit += count

    def answer(self, error: errors.PluggdError | None, result: Any) -> None:
        self._error, self._result, self._answered = error, result, True


_NOTHING = object()


class Client:
    """A connection to the daemon at `address`, the path of its socket.

    namespace: for calls that name none. Raises ConnectFailed, which says what is
    wrong with the address. When the connection is lost, every call raises
    ConnectionLost; a new Client is the way to go on.
    """

    def __init__(
        self,
        address: str | os.PathLike[str],
        *,
        namespace: str = "",
        connect_timeout: float = 10.0,
        features: Sequence[str] = FEATURES,
    ) -> None:
        self.address = os.fspath(address)
        self.namespace = namespace
        self.features: frozenset[str] = frozenset()
        self.server: Fields = {}
        self._streams: dict[int, Stream] = {}
        self._fds: deque[int] = deque()
        self._announced: deque[tuple[int, int]] = deque()
        self._last_id = -1
        self._last_words = ""
        self._packer = msgpack.Packer(unicode_errors="surrogateescape")
        self._unpacker = msgpack.Unpacker(
            max_buffer_size=0, unicode_errors="surrogateescape"
        )
        self._socket = self._connect(connect_timeout)
        try:
            self._hello(connect_timeout, features)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    @property
    def closed(self) -> bool:
        return self._socket.fileno() < 0

    def fileno(self) -> int:
        """For select: readable when `Stream.arrived` may have something new."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the connection; calls under way are cancelled by the daemon."""
        self._socket.close()
        while self._fds:
            os.close(self._fds.popleft())

    def call(
        self,
        method: str,
        args: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,
        lease: str | None = None,
        namespace: str | None = None,
        fds: Sequence[int] = (),
    ) -> Fields:
        """Call and wait for the result map ({} for nil).

        timeout: seconds, also told to the daemon. fds: descriptors that go with the
        call; an argument that is one holds its index in `fds`. A descriptor in the
        result's field `fd` is put there as its number; the caller closes it.
        Raises the classes of pluggd.errors.
        """
        call = self.stream(
            method,
            args,
            timeout=timeout,
            lease=lease,
            namespace=namespace,
            fds=fds,
        )
        result = call.result
        if call.fds and isinstance(result.get("fd", 0), int):
            index = result.get("fd", 0)
            if index < len(call.fds):
                result["fd"] = call.fds[index]
        return result

    def stream(
        self,
        method: str,
        args: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,
        lease: str | None = None,
        namespace: str | None = None,
        fds: Sequence[int] = (),
    ) -> Stream:
        """Begin a call and return it; arguments as in `call`."""
        metadata: Fields = {}
        if namespace is None:
            namespace = self.namespace
        if namespace:
            metadata["namespace"] = namespace
        if lease:
            metadata["lease"] = lease
        deadline = None
        if timeout is not None:
            metadata["timeout"] = timeout
            deadline = time.monotonic() + timeout + GRACE
        if fds and "fds" not in self.features:
            raise errors.FailedPrecondition(
                f"{method}: the connection to {self.address} does not pass file "
                "descriptors: failed precondition"
            )
        self._last_id = msgid = (self._last_id + 1) & 0xFFFFFFFF
        stream = self._streams[msgid] = Stream(self, msgid, deadline)
        if fds:
            announcement = self._pack([NOTIFICATION, "$/fds", [msgid, len(fds)]])
            self._send(announcement, fds)
        params = [dict(args or {}), metadata]
        self._send(self._pack([REQUEST, msgid, method, params]))
        return stream

    def each(
        self,
        method: str,
        key: str,
        args: Mapping[str, Any] | None = None,
        *,
        page: int = PAGE,
        timeout: float | None = None,
        namespace: str | None = None,
    ) -> Iterator[Any]:
        """The records of a listing of any length, with no more than a page in memory.

        method: a `list`. key: of the records in its result ("images"). page: records
        asked for at once. timeout: of each page. Raises as `call`.
        """
        return records(
            lambda given: self.call(
                method, given, timeout=timeout, namespace=namespace
            ),
            key,
            args,
            page,
        )

    def upload(
        self,
        method: str,
        args: Mapping[str, Any] | None,
        chunks: Iterable[bytes],
        *,
        on_item: Callable[[Any], None] | None = None,
        timeout: float | None = None,
        lease: str | None = None,
        namespace: str | None = None,
        fds: Sequence[int] = (),
    ) -> Fields:
        """Call a method that takes a stream, send it `chunks`, return the result.

        on_item: called with each item that the method sends meanwhile.
        """
        with self.stream(
            method, args, timeout=timeout, lease=lease, namespace=namespace, fds=fds
        ) as call:
            for chunk in chunks:
                if not call.send(chunk):
                    break
                for item in call.arrived():
                    if on_item is not None:
                        on_item(item)
            call.end()
            for item in call:
                if on_item is not None:
                    on_item(item)
            return call.result

    # --- the connection; used by Stream

    def notify(self, method: str, params: list[Any]) -> None:
        self._send(self._pack([NOTIFICATION, method, params]))

    def receive(self, deadline: float | None) -> None:
        """Wait for bytes and take in the messages they complete."""
        timeout = None
        if deadline is not None:
            timeout = deadline - time.monotonic()
            if timeout <= 0:
                raise errors.DeadlineExceeded(
                    "the daemon did not answer in time: deadline exceeded"
                )
        try:
            self._socket.settimeout(timeout)
            self._take_in(0)
        except TimeoutError:
            raise errors.DeadlineExceeded(
                "the daemon did not answer in time: deadline exceeded"
            ) from None

    def receive_ready(self) -> None:
        """Take in what has arrived already, without waiting."""
        self._socket.settimeout(None)
        try:
            while True:
                self._take_in(socket.MSG_DONTWAIT)
        except BlockingIOError:
            return

    def _connect(self, timeout: float) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.settimeout(timeout)
            sock.connect(self.address)
        except OSError as error:
            sock.close()
            raise connect_failed(self.address, error) from None
        return sock

    def _hello(self, timeout: float, features: Sequence[str]) -> None:
        try:
            self.server = self.call(
                "rpc.v1.hello",
                {"client": f"pluggd/{__version__}", "features": list(features)},
                namespace="",
                timeout=timeout,
            )
        except errors.NotImplemented_:
            return  # an older or foreign server: the default profile
        self.features = frozenset(self.server.get("features", ()))

    def _pack(self, message: list[Any]) -> bytes:
        try:
            return self._packer.pack(message)
        except (TypeError, ValueError, OverflowError) as error:
            raise errors.InvalidArgument(
                f"arguments cannot be sent: {error}: invalid argument"
            ) from None

    def _send(self, data: bytes, fds: Sequence[int] = ()) -> None:
        try:
            self._socket.settimeout(None)
            if fds:
                data = data[socket.send_fds(self._socket, [data], list(fds)) :]
            if data:
                self._socket.sendall(data)
        except OSError as error:
            self._lost("it was closed here" if self.closed else reason(error))

    def _take_in(self, flags: int) -> None:
        """Receive once and handle every whole message."""
        try:
            data, ancillary, message_flags, _ = self._socket.recvmsg(
                READ, socket.CMSG_SPACE(MAX_FDS * 4), flags | socket.MSG_CMSG_CLOEXEC
            )
        except (BlockingIOError, TimeoutError):
            raise
        except OSError as error:
            self._lost(reason(error))
        for level, kind, payload in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                whole = len(payload) - len(payload) % 4
                self._fds.extend(memoryview(payload[:whole]).cast("i"))
        if message_flags & socket.MSG_CTRUNC:
            self._lost("descriptors were truncated (is RLIMIT_NOFILE reached?)")
        if not data:
            self._lost(self._last_words or "the daemon closed the connection")
        self._unpacker.feed(data)
        for message in self._unpacker:
            self._handle(message)

    def _handle(self, message: Any) -> None:
        match message:
            case [1, int(msgid), error, result]:
                stream = self._streams.pop(msgid, None)
                fds = self._claim(msgid)
                if stream is None:
                    for fd in fds:
                        os.close(fd)
                    return
                stream.fds = fds
                stream.answer(None if error is None else error_of(error), result)
            case [2, "$/item", [int(msgid), item]]:
                if (stream := self._streams.get(msgid)) is not None:
                    stream.add_item(item)
            case [2, "$/credit", [int(msgid), int(count)]]:
                if (stream := self._streams.get(msgid)) is not None:
                    stream.add_credit(count)
            case [2, "$/error", [str(text)]]:
                self._last_words = text
            case [2, "$/fds", [int(msgid), int(count)]]:
                self._announced.append((msgid, count))
            case [0, int(msgid), *_]:
                error = "not_implemented: this client serves no methods"
                self._send(self._pack([RESPONSE, msgid, error, None]))
            case _:
                pass  # unknown notifications are ignored, as the specification says

    def _claim(self, msgid: int) -> list[int]:
        """The descriptors announced for this response, in order of arrival."""
        if not self._announced or self._announced[0][0] != msgid:
            return []
        _, count = self._announced.popleft()
        if count > len(self._fds):
            self._lost("the daemon announced descriptors and did not send them")
        return [self._fds.popleft() for _ in range(count)]

    def _lost(self, why: str) -> NoReturn:
        self.close()
        error = connection_lost(self.address, why)
        for stream in self._streams.values():
            stream.answer(error, None)
        self._streams.clear()
        raise error


def error_of(value: object) -> errors.PluggdError:
    """The error of a response, in either form (`code: message`, or a map)."""
    if is_map(value):
        return errors.from_code(str(value.get("code")), str(value.get("message")))
    return errors.from_text(str(value))
