# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a daemon that has just started did not import: the start is mostly imports.

Whoever sees this fail has two ways: import what is named where it is first needed, or,
if each start needs it, take it off the list and say in the commit what that costs.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from pluggd.cli.entry import OPTIONS, plain_run
from pluggd.cli.pluggd import run

ROOT = Path(__file__).resolve().parents[2]

NOT_AT_START = {
    "asyncio",
    "click",
    "concurrent.futures",
    "dataclasses",
    "difflib",
    "email",
    "http.client",
    "httpx2",
    "importlib.metadata",
    "json",
    "multiprocessing",
    "pluggd.core.diagnose",
    "pluggd.core.differences",
    "pluggd.core.options",
    "pluggd.core.reload",
    "pluggd.core.toml_lines",
    "pluggd.core.toml_text",
    "pluggd.model.filter_syntax",
    "pluggd.oci_spec.build",
    "plugins.diff.child",
    "plugins.diff.creating",
    "plugins.diff.targets",
    "plugins.events_memory.service",
    "plugins.gc_watermark.watcher",
    "plugins.images_policy.policy",
    "plugins.registry.hosts",
    "plugins.registry.reach",
    "plugins.registry.remote",
    "plugins.transfer.exporter",
    "plugins.transfer.importer",
    "plugins.transfer.pulling",
    "plugins.transfer.pushing",
    "plugins.unpack.checking",
    "plugins.unpack.reading",
    "plugins.unpack.unpacking",
    "plugins.unpack.usage",
    "pydantic",
    "re2",
    "rich",
    "sqlite3",
    "tarfile",
    "tomllib",
    "unittest",
    "xml",
    "zipfile",
}

CHILD = """
import atexit, sys
atexit.register(lambda: print(*sys.modules, sep="\\n", flush=True))
from pluggd.cli.entry import main
main()
"""


def test_a_start_does_without_what_only_calls_need(tmp_path: Path) -> None:
    paths = [
        *("--root", tmp_path / "root"),
        *("--state", tmp_path / "state"),
        *("--address", tmp_path / "socket"),
    ]
    command = [sys.executable, "-c", CHILD, "run", *map(str, paths)]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=plain_environment(tmp_path),
        cwd=tmp_path,
        text=True,
    ) as daemon:
        assert daemon.stdout is not None
        assert daemon.stderr is not None
        log: list[str] = []
        for line in daemon.stderr:
            log.append(line)
            if "daemon ready" in line:
                daemon.send_signal(signal.SIGTERM)
        loaded = set(daemon.stdout.read().split())
    assert daemon.returncode == 0, "".join(log)
    assert "plugins.transfer.service" in loaded
    assert sorted(loaded & NOT_AT_START) == []


COUNTING = """
import atexit, gc
runs = []
atexit.register(lambda: print(len(runs)))
from pluggd.cli.entry import main
gc.callbacks.append(lambda phase, info: runs.append(phase))
main()
"""


def test_no_garbage_is_looked_for_while_importing(tmp_path: Path) -> None:
    """Of a daemon that ends as soon as it reads its configuration."""
    words = ["run", "--config", str(tmp_path / "missing.toml")]
    done = subprocess.run(
        [sys.executable, "-c", COUNTING, *words],
        env=plain_environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert "missing.toml" in done.stderr
    assert done.stdout == "0\n"


def plain_environment(home: Path) -> dict[str, str]:
    """Without this run's coverage and the user's own configuration."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("COVERAGE_", "COV_"))
    }
    return environment | {
        "PYTHONPATH": f"{ROOT / 'src'}",
        "XDG_CONFIG_HOME": str(home),
        "HOME": str(home),
    }


def test_the_plain_form_knows_the_options_that_click_documents() -> None:
    assert {f"--{name}" for name in OPTIONS} == {
        option for parameter in run.params for option in parameter.opts
    }


def test_both_ways_to_write_an_option_are_understood() -> None:
    words = ["run", "--root", "/r", "--log-level=debug", "--config", "c.toml"]
    assert plain_run(words) == {"root": "/r", "log_level": "debug", "config": "c.toml"}


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["version"],
        ["run", "--help"],
        ["run", "/r"],
        ["run", "--root"],
        ["run", "--root", ""],
        ["run", "--root", "--state"],
        ["run", "--rot", "/r"],
        ["run", "-root", "/r"],
        ["run", "--root", "/r", "--root", "/s"],
        ["run", "--log-level", "loud"],
        ["run", "--log-format=xml"],
        ["run", "--config", "/"],
    ],
)
def test_everything_else_is_left_to_click(words: Sequence[str]) -> None:
    assert plain_run(words) is None
