# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""`pluggd plugin new`: what it writes is formatted, typed, tested and works."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from shutil import which

import pytest
from click.testing import CliRunner, Result

from pluggd.cli.author.kinds import known_kinds
from pluggd.cli.author.new import FORMS
from pluggd.cli.pluggd import main
from pluggd.services.credentials import CREDENTIALS
from pluggd.services.daemon import DAEMON
from pluggd.services.hello import RPC
from pluggd.services.tasks import TASKS

SOURCE = Path(__file__).resolve().parents[2] / "src"
RULES = "E,F,W,I,UP,B,C4,SIM,RUF,PT,RET,PIE,ASYNC"
# As for this project: long messages may stand, and defaults are those of the Protocol.
EXCEPT = "E501,B006,RUF012"

INSTALLED = any(one.name == "pluggd" for one in entry_points(group="pytest11"))
TAKEN = ("a", "config", "greeting", "record", "invalid-argument")
"""Names that are also those of something in what is written."""
PYTEST = ["-p", "no:cacheprovider"] + (
    [] if INSTALLED else ["-p", "pluggd.testing.pytest_plugin"]
)


def new(directory: Path, *arguments: str) -> Result:
    line = ["plugin", "new", *arguments, "--in", str(directory)]
    return CliRunner().invoke(main, line)


def ran(directory: Path, *command: str) -> str:
    """Run a module of Python as an author would who has pluggd installed."""
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(SOURCE), "MYPYPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every form of a new kind, and of some that pluggd has."""
    directory = tmp_path_factory.mktemp("made")
    for form in FORMS:
        for kind in ("greeter", "images", "snapshotter", "metadata"):
            result = new(directory, f"{kind}-{form}", "--kind", kind, f"--{form}")
            assert result.exit_code == 0, result.output
        for kind in ("images", "gc"):
            name = f"over-{kind}-{form}"
            result = new(directory, name, "--decorate", kind, f"--{form}")
            assert result.exit_code == 0, result.output
    for name in TAKEN:
        assert new(directory, name).exit_code == 0
    for known in known_kinds().values():
        if known.kind in (DAEMON, RPC):
            continue
        name = known.kind.name.split(".")[1]
        result = new(directory, f"all-{name}", "--kind", known.kind.name)
        assert result.exit_code == 0, result.output
        if known.kind is not CREDENTIALS:
            result = new(directory, f"over-{name}", "--decorate", known.kind.name)
            assert result.exit_code == 0, result.output
    return directory


def test_what_is_written_is_in_form(made: Path) -> None:
    for one in made.iterdir():
        ran(one, "ruff", "format", "--check", "--no-cache", ".")
        ran(
            one, *("ruff", "check", "--no-cache", "--select", RULES, "--ignore", EXCEPT)
        )


@pytest.mark.slow
def test_what_is_written_is_typed(made: Path, tmp_path: Path) -> None:
    for one in made.iterdir():
        ran(one, "mypy", "--cache-dir", str(tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_its_test_is_green(made: Path, form: str) -> None:
    for kind in ("greeter", "images", "over-images", "over-gc"):
        said = ran(made / f"{kind}-{form}", "pytest", "-q", *PYTEST)
        assert " passed" in said


@pytest.mark.slow
def test_a_decorator_of_any_kind_starts_over_what_is_bundled(made: Path) -> None:
    for known in known_kinds().values():
        one = made / f"over-{known.kind.name.split('.')[1]}"
        if known.kind is TASKS and not (which("runc") or which("crun")):
            continue  # there is nothing to stand over
        if one.exists():
            said = ran(one, "pytest", "-q", *PYTEST)
            assert " passed" in said


def test_it_ends_with_what_to_type_next(tmp_path: Path) -> None:
    said = new(tmp_path, "hello").output
    assert (tmp_path / "hello" / "plugins" / "hello.py").is_file()
    commands = said.partition("Next:\n")[2].splitlines()
    assert [line.split("#")[0].split()[0] for line in commands] == [
        "python",
        "pluggd",
        "pluggctl",
    ]
    assert 'pluggctl call hello.v1.greet \'{"name": "you"}\'' in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["Hello"], "must be lower-case letters"),
        (["class"], "no word of Python"),
        (["x__y"], 'with single "-" or "_"'),
        (["images"], "a plugin that comes with pluggd has its folder"),
        (
            ["json"],
            "a module json already, and one of the two would hide the other; take",
        ),
        (["trio"], 'take another, as in "my-trio"'),
        (
            ["resolver"],
            "clients would call it resolver.v1, as they do pluggd.resolver.v1",
        ),
        (
            ["mine", "--kind", "acme.images.v1"],
            "or --kind images for a provider of that",
        ),
        (["mine", "--kind", "daemon"], "is the daemon's own and provided by it alone"),
        (["mine", "--kind", "image"], "did you mean images?"),
        (["mine", "--kind", "a.b"], 'as in "acme.backups.v1"'),
        (["mine", "--decorate", "image"], 'none of that name; did you mean "images"?'),
        (["mine", "--decorate", "daemon"], "is the daemon's own and not decorated"),
        (["mine", "--decorate", "credentials"], "there is nothing to stand over"),
    ],
)
def test_a_wrong_name_is_refused_with_the_rule(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    result = new(tmp_path, *arguments)
    assert result.exit_code == 1
    assert message in result.output
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    assert new(tmp_path, "hello").exit_code == 0
    result = new(tmp_path, "hello")
    assert result.exit_code == 1
    assert "already exists" in result.output
