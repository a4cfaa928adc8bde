# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The tests on every supported Python that this machine has."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import nox

SUPPORTED = ("3.11", "3.12", "3.13")

nox.options.reuse_existing_virtualenvs = True


def interpreters() -> list[str]:
    """A working interpreter for each version other than this one's, which `make test`
    has: on the PATH, or made by pyenv.

    Being on the PATH is not enough: pyenv's shims are there and fail.
    """
    found: list[str] = []
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    for version in SUPPORTED:
        if version == here:
            continue
        pyenv = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
        for candidate in (f"python{version}", *map(str, pyenv)):
            try:
                subprocess.run([candidate, "-c", ""], check=True, capture_output=True)
            except (OSError, subprocess.CalledProcessError):
                continue
            found.append(candidate)
            break
    return found


@nox.session(python=interpreters())
def tests(session: nox.Session) -> None:
    session.install("--constraint", "constraints.txt", "--editable", ".[dev]")
    session.run(
        "python", "-m", "pytest", "-n", "auto", "--dist", "loadfile", *session.posargs
    )
