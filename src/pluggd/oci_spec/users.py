# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Users and groups as an image names them, from its own passwd and group.

The files belong to the image, so they are opened without leaving its root: a link in it
that points to the host's passwd is followed inside the root, as the container would.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from pluggd.errors import InvalidArgument, NotFound
from pluggd.struct import Struct

MAX_FILE = 16 << 20
MAX_LINKS = 40
LARGEST_ID = (1 << 32) - 2


class FoundUser(Struct, frozen=True):
    """groups: further ones, by the image's group file."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str


def find_user(root: Path, text: str) -> FoundUser:
    """`name`, `uid`, `name:group`, `uid:gid` in any mixture; blocks.

    A number need not be in passwd; its group is then 0. Raises NotFound for a name
    that is not there, InvalidArgument for a number that is none.
    """
    user, separator, group = text.partition(":")
    entry = _lookup(root, "/etc/passwd", user, 7)
    if entry is None:
        if not user.isdecimal():
            raise NotFound(
                f'user "{user}": the image has no such user in /etc/passwd; use a number'
                " or another name: not found"
            )
        uid, gid, home, name = _id(user), 0, "/", ""
    else:
        uid, gid, home, name = _id(entry[2]), _id(entry[3]), entry[5] or "/", entry[0]
    if separator:
        return FoundUser(uid, _group(root, group), (), home)
    return FoundUser(uid, gid, tuple(sorted(_groups_of(root, name) - {gid})), home)


def _group(root: Path, group: str) -> int:
    entry = _lookup(root, "/etc/group", group, 4)
    if entry is not None:
        return _id(entry[2])
    if not group.isdecimal():
        raise NotFound(
            f'group "{group}": the image has no such group in /etc/group; use a number'
            " or another name: not found"
        )
    return _id(group)


def _groups_of(root: Path, name: str) -> set[int]:
    if not name:
        return set()
    return {
        _id(entry[2])
        for entry in _entries(root, "/etc/group", 4)
        if name in entry[3].split(",")
    }


def _lookup(root: Path, path: str, wanted: str, fields: int) -> list[str] | None:
    """By name, and a number also by id, as a name may consist of digits."""
    by_id: list[str] | None = None
    for entry in _entries(root, path, fields):
        if entry[0] == wanted:
            return entry
        if by_id is None and wanted.isdecimal() and entry[2] == wanted:
            by_id = entry
    return by_id


def _entries(root: Path, path: str, fields: int) -> Iterator[list[str]]:
    for line in read_inside(root, path).decode("utf-8", "replace").splitlines():
        entry = line.strip().split(":")
        if len(entry) >= fields and entry[0] and entry[2].isdecimal():
            yield entry


def _id(text: str) -> int:
    number = int(text) if text.isdecimal() else -1
    if not 0 <= number <= LARGEST_ID:
        raise InvalidArgument(
            f"id {text!r}: must be 0 to {LARGEST_ID}: invalid argument"
        )
    return number


def read_inside(root: Path, path: str) -> bytes:
    """A regular file of a root filesystem, b"" when there is none."""
    try:
        fd = open_inside(root, path)
    except (FileNotFoundError, NotADirectoryError):
        return b""
    with open(fd, "rb") as file:
        return file.read(MAX_FILE)


def open_inside(root: Path, path: str) -> int:
    """Open a regular file for reading, with every link followed as if `root` were /.

    Raises FileNotFoundError, also for what is no regular file.
    """
    todo = [part for part in path.split("/") if part]
    links = 0
    base = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    chain = [base]
    try:
        while todo:
            part = todo.pop(0)
            if part == ".":
                continue
            if part == "..":
                if len(chain) > 1:
                    os.close(chain.pop())
                continue
            flags = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
            fd = os.open(part, flags, dir_fd=chain[-1])
            chain.append(fd)
            if stat.S_ISLNK(os.fstat(fd).st_mode):
                links += 1
                if links > MAX_LINKS:
                    raise FileNotFoundError(path)
                target = os.readlink("", dir_fd=fd)
                os.close(chain.pop())
                if target.startswith("/"):
                    while len(chain) > 1:
                        os.close(chain.pop())
                todo = [one for one in target.split("/") if one] + todo
        # Before it is opened: to open a device can be to use it.
        if not stat.S_ISREG(os.fstat(chain[-1]).st_mode):
            raise FileNotFoundError(path)
        return os.open(
            f"/proc/self/fd/{chain[-1]}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
        )
    finally:
        for fd in chain:
            os.close(fd)
