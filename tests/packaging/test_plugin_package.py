# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""A plugin from `pluggd plugin new --package`: built by its own build file, installed by
pip, found by its entry point and called over the socket of a daemon that is a process."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from pluggd.testing import running_daemon

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.slow

for needed in ("pip", "build", "hatchling"):
    if importlib.util.find_spec(needed) is None:
        pytest.skip(f"{needed} is not installed", allow_module_level=True)


def run(*command: str, cwd: Path, path: str = str(ROOT / "src")) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory for `sys.path` in which pip has put the wheels of two plugins."""
    here = tmp_path_factory.mktemp("packages")
    for arguments in (["well-met"], ["keeper", "--decorate", "images"]):
        run("pluggd", "plugin", "new", "--package", *arguments, cwd=here)
        project = here / arguments[0]
        run("build", "--wheel", "--no-isolation", cwd=project)
        (wheel,) = (project / "dist").glob("*.whl")
        target = str(here / "site")
        offline = ["--no-index", "--no-deps", "--no-compile", "--target", target]
        run("pip", "install", *offline, str(wheel), cwd=here)
    return here / "site"


def test_the_daemon_finds_it_and_says_which_distribution_brought_it(
    installed: Path, tmp_path: Path
) -> None:
    path = os.pathsep.join([str(installed), str(ROOT / "src")])
    listed = run("pluggd", "plugins", "--json", cwd=tmp_path, path=path)
    assert '"example.well_met.v1.well-met"' in listed
    assert "well-met 0.1.0" in listed


def test_its_own_test_is_green_while_it_is_installed(
    installed: Path, tmp_path: Path
) -> None:
    path = os.pathsep.join([str(installed), str(ROOT / "src")])
    project = installed.parent / "well-met"
    said = run("pytest", "-q", "-p", "no:cacheprovider", cwd=project, path=path)
    assert "2 passed" in said


def test_what_is_installed_is_typed(installed: Path) -> None:
    assert (installed / "well_met" / "py.typed").is_file()
    assert not list(installed.rglob("test_*.py"))


async def test_it_is_called_over_the_socket(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = os.pathsep.join([str(installed), str(ROOT / "src")])
    monkeypatch.setenv("PYTHONPATH", path)
    config = (
        '[decorate]\nimages = ["keeper"]\n'
        '[plugins."example.well_met.v1.well-met"]\ngreeting = "good morning"\n'
        '[plugins."pluggd.images.v1.keeper"]\nrefuse = true\n'
    )
    ctl = [sys.executable, "-m", "pluggd.cli.pluggctl"]
    with trio.fail_after(60):
        async with running_daemon(tmp_path, config, subprocess=True) as daemon:
            address = ["--address", str(daemon.address)]
            call = [*ctl, *address, "call", "well_met.v1.greet", '{"name": "you"}']
            said = await trio.run_process(call, capture_stdout=True)
            assert json.loads(said.stdout) == {"text": "good morning, you"}
            remove = [*ctl, *address, "images", "rm", "x"]
            refused = await trio.run_process(remove, capture_stderr=True, check=False)
            assert refused.returncode != 0
            assert b"refuse is set in the options of plugin" in refused.stderr
