# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The two directories of a daemon, and the name that it keeps for life.

Made with the modes that the documentation promises; one that belongs to somebody else
is refused, as the default state directory may lie in /tmp.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from pluggd.errors import FailedPrecondition

ROOT_MODE = 0o700
STATE_MODE = 0o711
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def make_directory(path: Path, mode: int, option: str) -> None:
    """Make a directory with this mode. Raises FailedPrecondition naming the option."""
    try:
        path.mkdir(mode=mode, parents=True, exist_ok=True)
        owner = os.stat(path).st_uid
        if owner == os.geteuid():
            os.chmod(path, mode)
    except OSError as error:
        raise FailedPrecondition(
            f"cannot make directory {path}: {error.strerror}; choose another with"
            f" --{option}: failed precondition"
        ) from error
    if owner != os.geteuid() and os.geteuid() != 0:
        raise FailedPrecondition(
            f"directory {path} belongs to uid {owner}: choose another with --{option}:"
            " failed precondition"
        )


def identity(root: Path) -> str:
    """The uuid of a root directory, made at its first start."""
    file = root / "uuid"
    try:
        text = file.read_text("ascii").strip()
    except FileNotFoundError:
        return _make_identity(file)
    if not _UUID.fullmatch(text):
        raise FailedPrecondition(
            f"{file} holds no uuid: restore it, or remove it to get a new one:"
            " failed precondition"
        )
    return text


def _make_identity(file: Path) -> str:
    from uuid import uuid4

    text = str(uuid4())
    temporary = file.with_suffix(".new")
    with open(temporary, "w", encoding="ascii") as stream:
        stream.write(f"{text}\n")
        stream.flush()
        os.fsync(stream.fileno())
    os.rename(temporary, file)
    directory = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
    return text
