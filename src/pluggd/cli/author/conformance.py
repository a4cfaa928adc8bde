# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""`pluggd plugin check --conformance`: the rules of its kind on a plugin as it is.

The plugin runs over providers in memory, with its default options or those of a config
file. Who needs more writes the few lines of a test (docs/writing-a-plugin.md, Testing).
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import trio

from pluggd.cli.author.places import sources_at
from pluggd.core.config import settings_of
from pluggd.core.config_files import load
from pluggd.core.discovery import Found, examine
from pluggd.errors import InvalidArgument
from pluggd.testing.suites import SUITES

Say = Callable[[str], object]

TEST = """
import pytest
from {module} import {suite}
from pluggd.testing.authoring import provider

class Test({suite}):
    lacks = {lacks!r}

    @pytest.fixture
    async def {fixture}(self, {needs}tmp_path):
        async with provider({path!r}, {uri!r}, {given}, tmp_path, {config!r}) as service:
            yield service
"""


def run_conformance(
    path: Path, lacks: Sequence[str], config: Path | None, say: Say
) -> bool:
    """Run the suite of each plugin at the path that has one; whether all rules hold.

    config: a file with options for them. Raises InvalidArgument for a `lacks` without a
    reason, ConfigError for a file that is wrong or says nothing of them.
    """
    reasons: dict[str, str] = {}
    for text in lacks:
        name, _, reason = text.partition("=")
        if not reason:
            raise InvalidArgument(
                f'--lacks {text}: must have a reason, as in "{name}=kept in memory":'
                " invalid argument"
            )
        reasons[name] = reason
    good = True
    found = [one for source in sources_at(path) for one in examine(source)]
    file = _options_for(found, config) if config is not None else ""
    for one in found:
        if one.registration is None:
            continue
        where = SUITES.get(one.registration.provides.name)
        if where is None:
            say(f"{one.uri}: its kind has no rules to run")
            continue
        say(f"{one.uri}: {where.suite}")
        if reason := _why_not(path, one.uri, file):
            say(f"  wrong: {reason}")
            good = False
            continue
        over = [] if where.fixture == "metadata" else ["metadata"]
        if where.fixture == "diff":
            over.append("content")
        text = TEST.format(
            module=where.module,
            suite=where.suite,
            fixture=where.fixture,
            lacks=reasons,
            needs="".join(f"{name}, " for name in over),
            given="{" + ", ".join(f"{name!r}: {name}" for name in over) + "}",
            path=str(path.resolve()),
            uri=one.uri,
            config=file,
        )
        good = _pytest(text) and good
    return good


def _options_for(found: Sequence[Found], config: Path) -> str:
    """The path of the file, for whoever needs it again; it is right for all of them."""
    from pluggd.testing.authoring import options_of

    file = str(config.resolve())
    named = settings_of(load(config)).plugins
    uris = [one.uri for one in found if one.registration is not None]
    if not any(uri in named for uri in uris):
        sections = " or ".join(f'[plugins."{uri}"]' for uri in uris)
        raise InvalidArgument(f"{config}: has no {sections}: invalid argument")
    for one in found:
        if one.registration is not None:
            options_of(one.registration, file)
    return file


def _why_not(path: Path, uri: str, config: str) -> str:
    """One sentence, in place of a failure of each rule."""
    from pluggd.testing.authoring import why_not

    with tempfile.TemporaryDirectory(prefix="pluggd-check-") as directory:
        reason = trio.run(why_not, str(path.resolve()), uri, Path(directory), config)
    if not reason:
        return ""
    if config:
        return f"with the options of {config} it does not start: {reason}"
    return (
        f"with its default options it does not start: {reason}; --config FILE gives it"
        f' those of [plugins."{uri}"]'
    )


def _pytest(text: str) -> bool:
    with tempfile.TemporaryDirectory(prefix="pluggd-check-") as directory:
        file = Path(directory, "test_conformance.py")
        file.write_text(text)
        Path(directory, "pytest.ini").write_text("[pytest]\n")
        done = subprocess.run(
            [
                *(sys.executable, "-P", "-m", "pytest", "-q", "-ra", "--tb=short"),
                *("-p", "no:cacheprovider", "-c", str(file.with_name("pytest.ini"))),
                str(file),
            ],
            env=os.environ,
            check=False,
        )
    return done.returncode == 0
