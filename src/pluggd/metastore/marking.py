# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The full mark, in a process of its own.

It computes for as long as the store is large, and in the daemon it would keep every
thread and the event loop from working. Here it has an interpreter lock of its own,
reads one snapshot, which stops no writer, and gives way to everything else that wants
a processor. It must stay free of trio.
"""

from __future__ import annotations

import os
import sys
import threading
from contextlib import AbstractContextManager

from pluggd.model.record import encode
from pluggd.objects.kv import ReadKV
from pluggd.objects.mark import mark

NICE = 10


def main(snapshot: AbstractContextManager[ReadKV], now: int) -> None:
    """Mark this state and write an encoded MarkResult to standard output; never returns."""
    os.nice(NICE)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with snapshot as kv:
        result = mark(kv, now)
    sys.stdout.buffer.write(encode(result))
    sys.stdout.buffer.flush()
    # Not through the interpreter's end, which would wait for the other thread's read.
    os._exit(0)


def _end_with_parent() -> None:
    # Standard input ends when the parent does, however it ends. An orphan would hold
    # its snapshot, and with it every page that was freed since.
    os.read(0, 1)
    os._exit(1)
