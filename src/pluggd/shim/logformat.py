# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The form of a process's log: records in numbered files, at positions that only grow.

A record is a time (ns, eight bytes), a stream (one), a size (four; all big endian) and
the bytes as they came. A position counts bytes from the first record on; a file is named
by the position of its first byte, so that what was dropped is known by what is missing.
A record lies in one file. The last one of a finished process has the stream END.
"""

from __future__ import annotations

HEADER = 13
END, STDOUT, STDERR = 0, 1, 2
PREFIX = "log."


def record(time_ns: int, stream: int, data: bytes) -> bytes:
    return (
        time_ns.to_bytes(8, "big")
        + bytes((stream,))
        + len(data).to_bytes(4, "big")
        + data
    )


def header(data: bytes) -> tuple[int, int, int]:
    """Time, stream and size of the record that begins with these bytes."""
    return (
        int.from_bytes(data[:8], "big"),
        data[8],
        int.from_bytes(data[9:HEADER], "big"),
    )


def file_name(position: int) -> str:
    return f"{PREFIX}{position:020d}"


def starts(names: list[str]) -> list[int]:
    """The positions at which the files of a directory begin, in order."""
    return sorted(
        int(name[len(PREFIX) :])
        for name in names
        if name.startswith(PREFIX) and name[len(PREFIX) :].isdecimal()
    )
