# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""`pluggd plugin check --conformance`: the rules of its kind on a plugin as it is.

The plugin runs with its default options over providers in memory. Who needs more writes
the few lines of a test (docs/writing-a-plugin.md, Testing).
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from pluggd.cli.author.places import sources_at
from pluggd.core.discovery import examine
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
        async with provider({path!r}, {uri!r}, {given}, tmp_path) as service:
            yield service
"""


def run_conformance(path: Path, lacks: Sequence[str], say: Say) -> bool:
    """Run the suite of each plugin at the path that has one; whether all rules hold.

    Raises InvalidArgument for a `lacks` without a reason.
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
    for source in sources_at(path):
        for one in examine(source):
            if one.registration is None:
                continue
            where = SUITES.get(one.registration.provides.name)
            if where is None:
                say(f"{one.uri}: its kind has no rules to run")
                continue
            say(f"{one.uri}: {where.suite}")
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
            )
            good = _pytest(text) and good
    return good


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
