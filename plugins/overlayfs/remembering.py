# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The options that worked at an earlier start, as long as nothing changed since.

To find out takes a mount and its end, for which the kernel writes out what others have
left in its caches: ten milliseconds of a start, or a second beside a large pull. Only
what worked is kept, in the state directory, with all on which it depends.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from pluggd.errors import DataLoss
from pluggd.model.record import Record, decode, encode

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_STATUS = Path("/proc/self/status")
_CAPABILITIES = "CapEff:"


class Circumstances(Record, frozen=True):
    """What decides whether overlay mounts work.

    boot: of this run of the kernel, which is its version and its modules, too. root and
    device: the directory and its file system. namespace and capabilities: what this
    process may do. extra: the options that the operator wants.
    """

    boot: str
    root: str
    device: int
    namespace: int
    capabilities: str
    extra: list[str]


class _Memory(Record, frozen=True):
    tried: Circumstances
    options: list[str]


def circumstances(root: str, extra: Sequence[str]) -> Circumstances | None:
    """Those of now; None where /proc does not tell them."""
    try:
        capabilities = next(
            line.removeprefix(_CAPABILITIES).strip()
            for line in _STATUS.read_text("ascii").splitlines()
            if line.startswith(_CAPABILITIES)
        )
        return Circumstances(
            boot=_BOOT.read_text("ascii").strip(),
            root=root,
            device=os.stat(root).st_dev,
            namespace=os.stat("/proc/self/ns/user").st_ino,
            capabilities=capabilities,
            extra=list(extra),
        )
    except (OSError, StopIteration):
        return None


def recall(file: Path, now: Circumstances) -> tuple[str, ...] | None:
    """The options that worked in just these circumstances, if that is known."""
    try:
        memory = decode(file.read_bytes(), _Memory)
    except (OSError, DataLoss):
        return None
    return tuple(memory.options) if memory.tried == now else None


def remember(file: Path, now: Circumstances, options: Sequence[str]) -> None:
    """For the next start. Raises OSError."""
    new = file.with_suffix(".new")
    new.write_bytes(encode(_Memory(tried=now, options=list(options))))
    new.replace(file)
