# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""`pluggd plugin check`: what can be said of a plugin without starting it."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from pluggd.cli.author.kinds import known_kinds
from pluggd.cli.author.places import sources_at
from pluggd.cli.author.together import together
from pluggd.cli.author.yields import wrong_types
from pluggd.core.advice import makes_its_own, meant
from pluggd.core.discovery import (
    Found,
    bundled_dir,
    bundled_sources,
    directory_sources,
    examine,
    installed_sources,
)
from pluggd.core.toml_text import default_text
from pluggd.errors import InvalidArgument
from pluggd.model.api import judge
from pluggd.model.record import convert
from pluggd.plugin import Registration
from pluggd.services.daemon import DAEMON

Say = Callable[[str], object]

IMPORT = 60.0
"""Seconds that importing may take, far more than it should."""
FATAL = ("ends the process", "does not return")


def check_plugins(path: Path, beside: Sequence[Path], say: Say) -> bool:
    """Say what is wrong with each plugin at the path; whether nothing is. Raises
    NotFound when there is none."""
    sources = sources_at(path)
    # First, and elsewhere: it may do anything, even end the process that asks it.
    effects = side_effects(path)
    if any(effect.startswith(FATAL) for effect in effects):
        say(f"wrong: importing {path} {effects[0]}")
        return False
    found = [one for source in sources for one in examine(source)]
    others = _others(beside)
    provided = _provided([*found, *others, *_installed()])
    shared = together(found, others)
    good = True
    for one in found:
        clashes = shared.get((one.path, one.uri), ())
        problems = list(dict.fromkeys([*_of_one(one, provided), *clashes]))
        say(f"{one.uri}  ({one.path})")
        for problem in problems:
            say(f"  wrong: {problem}")
        if warning := _deprecated(one):
            say(f"  warning: {warning}")
        if not problems:
            say("  ok: registration, requirements, options, interface")
        good = good and not problems
    for effect in effects:
        say(f"wrong: importing it {effect}: do that in start, not at import")
        good = False
    return _typed(path, say) and good


def _others(beside: Sequence[Path]) -> list[Found]:
    """What will be there in any case."""
    sources = bundled_sources(bundled_dir())
    for directory in beside:
        sources += directory_sources(directory)
    return [one for source in sources for one in examine(source)]


def _installed() -> list[Found]:
    """Of this environment; the plugin itself may be one of them."""
    return [one for source in installed_sources() for one in examine(source)]


def _provided(everything: Iterable[Found]) -> set[str]:
    return {DAEMON.name} | {
        one.registration.provides.name for one in everything if one.registration
    }


def _of_one(one: Found, provided: set[str]) -> Iterable[str]:
    if one.failure is not None:
        yield one.failure.reason
    if one.registration is None or one.failure is not None:
        return
    yield from _requirements(one.registration, provided)
    yield from _options(one)
    yield from wrong_types(one.registration)


def _deprecated(one: Found) -> str:
    if one.registration is None or one.failure is not None or not one.registration.api:
        return ""
    return judge(one.registration.api)


def _requirements(
    registration: Registration[Any, Any], provided: set[str]
) -> Iterable[str]:
    for kind in registration.requires:
        if kind.name not in provided:
            yield (
                f"requires {kind.name}, which nobody provides"
                f"{meant(kind.name, provided)}: name the directory of the plugin that"
                " does (--beside), or list it in wants"
            )
    known = known_kinds()
    for kind in (registration.provides, *registration.requires, *registration.wants):
        ours = known.get(kind.name)
        if ours is not None and ours.kind is not kind:
            yield makes_its_own(kind.name, ours.constant, ours.module)


def _options(one: Found) -> Iterable[str]:
    assert one.registration is not None
    try:
        written = tomllib.loads(default_text([one]))
    except Exception as error:  # noqa: BLE001 - whatever an author's record may raise
        yield f"its options cannot be written as TOML: {type(error).__name__}: {error}"
        return
    try:
        convert(written.get("plugins", {}).get(one.uri, {}), one.registration.config)
    except InvalidArgument as error:
        yield f"a default of its options is not of the type of the option: {error}"


def side_effects(path: Path) -> list[str]:
    """What importing the plugins there does, found out in a process of its own."""
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "pluggd.cli.author.purity", str(path)],
            capture_output=True,
            text=True,
            timeout=IMPORT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return [f"does not return within {IMPORT:g} s"]
    if done.returncode != 0 or not done.stdout:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        return [f"ends the process (exit code {done.returncode}): {last}"]
    findings: list[str] = json.loads(done.stdout)
    return findings


def _typed(path: Path, say: Say) -> bool:
    """Let mypy look, where it is installed and the author has configured it."""
    if importlib.util.find_spec("mypy") is None:
        say("not checked: types, for mypy is not installed")
        return True
    root = path.resolve()
    project = next(
        (
            one
            for one in (root, *root.parents)
            if _configures_mypy(one / "pyproject.toml")
        ),
        None,
    )
    if project is None:
        say("not checked: types, for no pyproject.toml has a [tool.mypy]")
        return True
    done = subprocess.run(
        [sys.executable, "-P", "-m", "mypy", "--no-error-summary"],
        cwd=project,
        env={**os.environ, **_where_pluggd_is()},
        capture_output=True,
        text=True,
        check=False,
    )
    for line in (done.stdout + done.stderr).splitlines():
        say(f"wrong: {line}")
    if done.returncode == 0:
        say("ok: types (mypy)")
    return done.returncode == 0


def _where_pluggd_is() -> dict[str, str]:
    """For mypy, which does not look into a checkout by itself, and refuses to be sent to
    where packages are installed."""
    source = Path(__file__).resolve().parents[3]
    installed = {
        Path(sysconfig.get_path(name)).resolve() for name in ("purelib", "platlib")
    }
    return {} if source in installed else {"MYPYPATH": str(source)}


def _configures_mypy(file: Path) -> bool:
    try:
        return "mypy" in tomllib.loads(file.read_text()).get("tool", {})
    except (OSError, tomllib.TOMLDecodeError):
        return False
