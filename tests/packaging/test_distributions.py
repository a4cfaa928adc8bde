# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What is built carries the bundled plugins and runs as the checkout does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from the sdist, and the sdist."""
    out = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [
            sys.executable,
            "-m",
            "build",
            "--no-isolation",
            "--outdir",
            str(out),
            str(ROOT),
        ],
        check=True,
        capture_output=True,
        timeout=120,
    )
    return out


def bundled() -> set[str]:
    return {
        path.relative_to(ROOT / "plugins").as_posix()
        for path in (ROOT / "plugins").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_the_wheel_carries_every_file_of_every_bundled_plugin(dist: Path) -> None:
    (wheel,) = dist.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {f"pluggd/_bundled/{name}" for name in bundled()} <= names
    assert "pluggd/py.typed" in names


def test_the_wheel_carries_what_new_plugins_are_made_of(dist: Path) -> None:
    (wheel,) = dist.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    templates = ROOT / "src" / "pluggd" / "cli" / "author" / "templates"
    wanted = {f"pluggd/cli/author/templates/{one.name}" for one in templates.iterdir()}
    assert wanted <= names
    assert len(wanted) > 20


def test_the_sdist_carries_what_a_build_and_the_tests_need(dist: Path) -> None:
    (sdist,) = dist.glob("*.tar.gz")
    with tarfile.open(sdist) as tar:
        names = {name.partition("/")[2] for name in tar.getnames()}
    assert {f"plugins/{name}" for name in bundled()} <= names
    assert {"config.toml", "LICENSE", "Makefile", "README.md"} <= names


def plugins(path: list[str], cwd: Path) -> list[dict[str, object]]:
    """What `pluggd plugins --json` says with this import path, apart from origins and times."""
    result = subprocess.run(
        [sys.executable, "-m", "pluggd", "plugins", "--json"],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    rows: list[dict[str, object]] = json.loads(result.stdout)
    return [
        {key: row[key] for key in row if key not in ("origin", "since")} for row in rows
    ]


def test_the_wheel_runs_the_same_plugins_as_the_checkout(
    dist: Path, tmp_path: Path
) -> None:
    (wheel,) = dist.glob("*.whl")
    target = tmp_path / "installed"
    zipfile.ZipFile(wheel).extractall(target)
    from_wheel = plugins([str(target)], tmp_path)
    from_checkout = plugins([str(ROOT / "src")], tmp_path)
    assert from_wheel == from_checkout
    assert len(from_wheel) >= 10


def test_who_has_the_wheel_writes_and_checks_a_plugin_with_types(
    dist: Path, tmp_path: Path
) -> None:
    (wheel,) = dist.glob("*.whl")
    venv.create(tmp_path / "env", symlinks=True)
    python = tmp_path / "env" / "bin" / "python"
    (packages,) = (tmp_path / "env").glob("lib/python*/site-packages")
    zipfile.ZipFile(wheel).extractall(packages)
    # What it depends on, and mypy, are those of this environment.
    (packages / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    said = ""
    for command in (["new", "hello"], ["check", "hello"]):
        done = subprocess.run(
            [str(python), "-m", "pluggd", "plugin", *command],
            cwd=tmp_path,
            env={key: os.environ[key] for key in os.environ if key != "PYTHONPATH"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        said = done.stdout + done.stderr
        assert done.returncode == 0, said
    assert "ok: types (mypy)" in said
