# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""`pluggd plugin check`: what it finds without starting anything."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pluggd.cli.pluggd import main
from pluggd.core.discovery import Found, Source

GOOD = """
from contextlib import asynccontextmanager
from pluggd.model.record import Record
from pluggd.plugin import Registration, hookimpl
from pluggd.services.kind import Kind
from pluggd.services.rpc import rpc
{before}

class Thing:
    @rpc(namespaced=False)
    async def do(self) -> None: ...

class Config(Record, frozen=True):
    size: int = 1
    "How big."

@asynccontextmanager
async def start(ctx):
    {start}

@hookimpl
def pluggd_register():
    return Registration(provides=Kind("test.thing.v1", {interface}), id="x", start=start,
                        config=Config, {more})
"""


def plugin(
    path: Path,
    *,
    before: str = "",
    start: str = "yield Thing()",
    interface: str = "Thing",
    more: str = "",
) -> Path:
    path.mkdir(exist_ok=True)
    file = path / "thing.py"
    text = GOOD.format(before=before, start=start, interface=interface, more=more)
    file.write_text(text)
    return file


@pytest.fixture(autouse=True)
def bytecode(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on any machine: Python writes what it compiles, also what a plugin imports."""
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)


def check(*arguments: object) -> Result:
    line = ["plugin", "check", *(str(one) for one in arguments)]
    return CliRunner().invoke(main, line)


def test_a_good_plugin_is_ok(tmp_path: Path) -> None:
    result = check(plugin(tmp_path / "p"))
    assert result.exit_code == 0, result.output
    assert "test.thing.v1.x" in result.output
    assert "ok: registration" in result.output


BROKEN = {
    "import": ({"before": "1 / 0"}, "ZeroDivisionError: division by zero ({file}:"),
    "requirement": (
        {"more": "requires=(Kind('test.nobody.v1', object),)"},
        "requires test.nobody.v1, which nobody provides",
    ),
    "own copy of a kind": (
        {"more": "wants=(Kind('pluggd.images.v1', object),)"},
        "import IMAGES from pluggd.services.images instead",
    ),
    "interface": (
        {
            "before": "from pluggd.services.images import Images",
            "interface": "Images",
        },
        "Thing ({file}:",
    ),
    "nothing yielded": ({"start": "yield"}, "start yields None, which is of the class"),
    "number yielded": (
        {"start": "yield 3"},
        "start yields 3, which is of the class int",
    ),
    "class yielded": (
        {"start": "yield Thing"},
        "is the class Thing itself: yield an object",
    ),
    "default": (
        {"before": "", "more": "description='x'"},
        "a default of its options is not of the type",
    ),
    "options": ({"more": "live=('colour',)"}, "live names 'colour'"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_wrong_is_named(tmp_path: Path, case: str) -> None:
    how, message = BROKEN[case]
    file = plugin(tmp_path / "p", **how)
    if case == "default":
        file.write_text(file.read_text().replace("size: int = 1", 'size: int = "one"'))
    result = check(file)
    assert result.exit_code == 1
    assert message.format(file=file) in result.output


def test_a_deprecated_api_is_a_warning(tmp_path: Path) -> None:
    result = check(plugin(tmp_path / "p", more="api='0.9'"))
    assert result.exit_code == 0, result.output
    assert (
        "warning: was written for plugin API 0.9, which is deprecated" in result.output
    )


def test_names_of_modules_around_it_hide_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = plugin(tmp_path / "p")
    for name in ("signal", "json", "types"):
        (tmp_path / "p" / f"{name}.py").write_text("1 / 0\n")
    monkeypatch.chdir(tmp_path / "p")
    result = check(file)
    assert result.exit_code == 0, result.output


EFFECTS = {
    "thread": (
        "import threading, time\n"
        "threading.Thread(target=time.sleep, args=(60,), name='t1', daemon=True).start()",
        "leaves a thread t1",
    ),
    "file": ("open('{dir}/written', 'w').close()", "opens {dir}/written for writing"),
    "descriptor": ("keep = open('{dir}/thing.py')", "leaves open {dir}/thing.py"),
    "socket": (
        "import socket\ns = socket.socket()\ns.bind(('127.0.0.1', 0))",
        "calls socket.bind",
    ),
    "patch": (
        "import json\njson.dumps = lambda *a, **k: ''",
        "replaces json.dumps",
    ),
    "patched method": (
        "import logging\nlogging.Logger.info = lambda *a, **k: None",
        "replaces logging.Logger.info",
    ),
    "added method": (
        "import logging\nlogging.StreamHandler.acquire = lambda self: None",
        "adds logging.StreamHandler.acquire",
    ),
    "environment": (
        "import os\nos.environ['COLOUR'] = 'blue'",
        "changes the environment: COLOUR",
    ),
    "directory": ("import os\nos.chdir('/')", "changes the current directory"),
    "signal": (
        "import signal\nsignal.signal(signal.SIGUSR2, lambda *a: None)",
        "takes the signal SIGUSR2",
    ),
    "process": (
        "import subprocess\nsubprocess.run(['true'])",
        "calls subprocess.Popen",
    ),
    "short thread": (
        "import threading\nthreading.Thread(target=print).start()",
        "starts a thread ({dir}/thing.py:",
    ),
    "removal": ("import json\njson.dumps = None", "replaces json.dumps"),
    "print": ("print('here I am')", "prints to stdout ({dir}/thing.py:"),
    "exit": ("import os; os._exit(7)", "ends the process (exit code 7)"),
}


@pytest.mark.parametrize("case", EFFECTS)
def test_a_side_effect_of_the_import_is_named(
    tmp_path: Path, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The import in the process of the test is not what is tested, and would take effect.
    def nobody(source: Source) -> list[Found]:
        return []

    monkeypatch.setattr("pluggd.cli.author.check.examine", nobody)
    code, message = EFFECTS[case]
    directory = tmp_path / "p"
    plugin(directory, before=code.replace("{dir}", str(directory)))
    result = check(directory / "thing.py")
    assert result.exit_code == 1
    assert message.replace("{dir}", str(directory)) in result.output


def test_a_directory_beside_may_provide_what_is_required(tmp_path: Path) -> None:
    other = plugin(tmp_path / "other").parent
    mine = tmp_path / "mine"
    mine.mkdir()
    text = GOOD.format(
        before="",
        start="yield Thing()",
        interface="Thing",
        more="requires=(Kind('test.thing.v1', object),)",
    )
    file = mine / "needs.py"
    file.write_text(text.replace('"test.thing.v1"', '"test.needs.v1"'))
    assert "which nobody provides" in check(file).output
    assert check(file, "--beside", other).exit_code == 0


@pytest.mark.slow
def test_plugins_that_require_each_other_are_a_cycle(tmp_path: Path) -> None:
    for one, other in (("one", "two"), ("two", "one")):
        more = f"requires=(Kind('test.{other}.v1', object),)"
        file = plugin(tmp_path / "p", more=more)
        text = file.read_text().replace("test.thing.v1", f"test.{one}.v1")
        (tmp_path / "p" / f"{one}.py").write_text(text)
    file.unlink()
    result = check(tmp_path / "p")
    assert result.exit_code == 1
    cycle = "test.one.v1.x -> test.two.v1.x -> test.one.v1.x: take one of them out"
    assert result.output.count(cycle) == 2


def test_one_uri_twice_is_named_with_both_files(tmp_path: Path) -> None:
    here, there = plugin(tmp_path / "p"), plugin(tmp_path / "q")
    assert check(here).exit_code == 0
    result = check(here, "--beside", tmp_path / "q")
    assert result.exit_code == 1
    assert "exists more than once" in result.output
    assert str(here) in result.output
    assert str(there) in result.output


def test_methods_that_are_taken_over_count(tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[2]
    result = check(root / "docs" / "examples" / "decorating.py")
    assert "does not keep the interface" not in result.output, result.output
    assert "ok: registration" in result.output


@pytest.mark.parametrize("form", ["folder", "package"])
def test_what_was_just_made_is_ok(tmp_path: Path, form: str) -> None:
    line = ["plugin", "new", "mine", f"--{form}", "--in", str(tmp_path)]
    assert CliRunner().invoke(main, line).exit_code == 0
    result = check(tmp_path / "mine")
    assert result.exit_code == 0, result.output
    assert "ok: types (mypy)" in result.output


@pytest.mark.slow
def test_the_rules_of_its_kind_are_run(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    runner = CliRunner()
    line = ["plugin", "new", "mine", "--kind", "namespaces", "--in", str(tmp_path)]
    assert runner.invoke(main, line).exit_code == 0
    assert check(tmp_path / "mine", "--conformance").exit_code == 1
    said = capfd.readouterr().out
    assert "namespaces.v1.create: not implemented" in said
    assert "test_a_name_is_taken_once" in said


PICKY = """
from contextlib import asynccontextmanager
from pluggd.model.record import Record
from pluggd.plugin import Registration, Skip, hookimpl
from pluggd.services.gc import GC
from pluggd.services.metadata import METADATA
from pluggd.testing.bundled import bundled

class Config(Record, frozen=True):
    shelf: str = ""

@asynccontextmanager
async def start(ctx):
    if not ctx.config.shelf:
        raise Skip("set the option shelf")
    async with bundled(GC, {METADATA: ctx.get(METADATA)}) as gc:
        yield gc

@hookimpl
def pluggd_register():
    return Registration(provides=GC, id="picky", start=start, config=Config,
                        requires=(METADATA,))
"""


def test_a_plugin_that_does_not_start_says_so_once(tmp_path: Path) -> None:
    file = tmp_path / "picky.py"
    file.write_text(PICKY)
    result = check(file, "--conformance")
    assert result.exit_code == 1
    assert result.output.count("set the option shelf") == 1
    assert '--config FILE gives it those of [plugins."pluggd.gc.v1.picky"]' in (
        result.output
    )


@pytest.mark.slow
def test_the_rules_are_run_with_options_from_a_file(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file, config = tmp_path / "picky.py", tmp_path / "config.toml"
    file.write_text(PICKY)
    config.write_text('[plugins."pluggd.gc.v1.picky"]\nshelf = "left"\n')
    result = check(file, "--conformance", "--config", config)
    assert result.exit_code == 0, result.output
    assert " passed" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            '[plugins."pluggd.gc.v1.picky"]\nshelv = "x"',
            'config.toml:2: plugins."pluggd.gc.v1.picky".shelv: unknown key, did you'
            ' mean "shelf"?',
        ),
        ('[log]\nlevel = "info"', 'has no [plugins."pluggd.gc.v1.picky"]'),
    ],
)
def test_a_file_of_options_that_is_wrong_is_told(
    tmp_path: Path, text: str, said: str
) -> None:
    file, config = tmp_path / "picky.py", tmp_path / "config.toml"
    file.write_text(PICKY)
    config.write_text(text)
    result = check(file, "--conformance", "--config", config)
    assert result.exit_code == 1
    assert said in result.output
