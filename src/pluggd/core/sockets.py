# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What both servers do with a socket: read once, send what it takes, see who is there."""

from __future__ import annotations

import array
import contextlib
import socket
import struct
from collections.abc import Sequence

from pluggd.core.connection import Connection
from pluggd.core.outbox import close_all
from pluggd.services.call import Peer
from pluggd.wire.errors import LimitExceeded

READ_SIZE = 32 * 1024
"""Bytes read from one connection before the others have their turn: some hundred small
requests, about 2 ms of work."""

READ_LARGE = 128 * 1024
"""The same while a message larger than READ_SIZE comes in, most of which is no work
yet: a read and its round cost more than copying what they bring."""

_UCRED = struct.Struct("iII")
_NOBODY = 2**32 - 1
"""The user id of a socket that has no peer."""

_SO_PEERGROUPS = 59
"""asm-generic/socket.h; Python has no name for it. Elsewhere the call fails."""

_GROUP = struct.Struct("I")
_MAX_GROUPS = 256
"""As many as fit into what Python's getsockopt takes."""

Ancillary = Sequence[tuple[int, int, bytes]]


def peer_of(sock: socket.socket) -> Peer | None:
    """Who connected, as the kernel noted it then; None where it does not say."""
    try:
        raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    except OSError:
        return None
    pid, uid, gid = _UCRED.unpack(raw)
    if uid == _NOBODY:
        return None
    return Peer(uid=uid, gid=gid, pid=pid, groups=_groups_of(sock))


def _groups_of(sock: socket.socket) -> tuple[int, ...]:
    """The supplementary groups of the peer; none where the kernel does not say, and
    none of a peer that has more than `_MAX_GROUPS`."""
    try:
        raw = sock.getsockopt(
            socket.SOL_SOCKET, _SO_PEERGROUPS, _MAX_GROUPS * _GROUP.size
        )
    except OSError:
        return ()
    return tuple(gid for (gid,) in _GROUP.iter_unpack(raw))


def ancillary_size(descriptors: int) -> int:
    """Room for that many descriptors in recvmsg."""
    return socket.CMSG_SPACE(descriptors * array.array("i").itemsize)


def read_once(
    sock: socket.socket, connection: Connection, room: int, hung_up: bool
) -> None:
    """Read what is there, up to READ_SIZE or READ_LARGE, and hand it to the connection.

    room: `ancillary_size`. hung_up: whether the peer has closed both directions, which
    tells an end of input, after which it still reads, from its death.
    """
    fds: list[int] = []
    size = READ_LARGE if connection.unread >= READ_SIZE else READ_SIZE
    try:
        if connection.takes_fds:
            data, ancillary, flags, _ = sock.recvmsg(
                size, room, socket.MSG_CMSG_CLOEXEC
            )
            fds = _descriptors(ancillary, flags)
        else:
            data = sock.recv(size)
    except BlockingIOError:
        return
    except OSError:
        connection.lost()
        return
    except LimitExceeded as error:
        connection.fail(error)
        return
    if data:
        connection.receive(data, fds)
    elif hung_up:
        connection.lost()
    else:
        connection.end_of_input()


def send_some(sock: socket.socket, connection: Connection) -> bool:
    """Send until nothing is left (True) or the socket takes no more (False)."""
    outbox = connection.outbox
    while outbox.size:
        buffers, fds = outbox.peek()
        try:
            if fds or len(buffers) > 1:
                count = sock.sendmsg(buffers, _rights(fds))
            else:
                count = sock.send(buffers[0])
        except BlockingIOError:
            return False
        except OSError:
            connection.lost()
            return True
        connection.statistics.bytes_out += count
        if not outbox.sent(count):
            return False
    return True


def _descriptors(ancillary: Ancillary, flags: int) -> list[int]:
    if not ancillary and not flags & socket.MSG_CTRUNC:
        return []
    fds = array.array("i")
    for level, type_, data in ancillary:
        if level == socket.SOL_SOCKET and type_ == socket.SCM_RIGHTS:
            fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
    found = list(fds)
    if flags & socket.MSG_CTRUNC:
        close_all(found)
        raise LimitExceeded("more descriptors came at once than are allowed")
    return found


def _rights(fds: Sequence[int]) -> list[tuple[int, int, bytes]]:
    if not fds:
        return []
    return [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds).tobytes())]


def refuse(sock: socket.socket, text: bytes) -> None:
    """Say why and close; the peer may be gone already."""
    with sock, contextlib.suppress(OSError):
        sock.send(text)
