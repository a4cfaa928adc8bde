# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Plugins are found wherever they come from, each by itself."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from pluggd.core.clashes import reject_clashes
from pluggd.core.discovery import (
    Found,
    bundled_dir,
    discover,
    installed_sources,
)
from pluggd.core.loading import load_all
from pluggd.errors import InvalidArgument

PLUGIN = """
from contextlib import asynccontextmanager
from pluggd.plugin import Registration, hookimpl
from pluggd.services.kind import Kind

@asynccontextmanager
async def start(ctx):
    yield object()

@hookimpl
def pluggd_register():
    return Registration(provides=Kind("test.{kind}.v1", object), id="{id}", start=start)
"""


def write(path: Path, kind: str = "thing", id: str = "x", text: str = PLUGIN) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text.replace("{kind}", kind).replace("{id}", id))


def find(*directories: Path) -> list[Found]:
    return discover(directories, bundled=False, installed=False)


def test_files_and_folders_are_found(tmp_path: Path) -> None:
    write(tmp_path / "single.py", "single")
    write(tmp_path / "folder" / "__init__.py", "folder")
    assert [one.uri for one in find(tmp_path)] == [
        "test.folder.v1.x",
        "test.single.v1.x",
    ]


def test_a_folder_imports_its_own_modules_relatively(tmp_path: Path) -> None:
    write(tmp_path / "folder" / "inner.py")
    write(
        tmp_path / "folder" / "__init__.py",
        text="from .inner import pluggd_register\n",
    )
    assert [one.failure for one in find(tmp_path)] == [None]


def test_hidden_and_private_names_are_left_alone(tmp_path: Path) -> None:
    for name in ("_private.py", ".hidden.py", "__pycache__/__init__.py"):
        write(tmp_path / name)
    write(tmp_path / "README.md")
    (tmp_path / "empty").mkdir()
    assert find(tmp_path) == []


def test_two_directories_do_not_meet(tmp_path: Path) -> None:
    write(tmp_path / "a" / "same.py", "first")
    write(tmp_path / "b" / "same.py", "second")
    uris = [one.uri for one in find(tmp_path / "a", tmp_path / "b")]
    assert uris == ["test.first.v1.x", "test.second.v1.x"]


def test_two_folders_of_one_name_are_refused_with_both_paths(tmp_path: Path) -> None:
    write(tmp_path / "a" / "same.py", "first")
    write(tmp_path / "b" / "same.py", "second")
    for one in reject_clashes(find(tmp_path / "a", tmp_path / "b"), []):
        assert one.failure is not None
        assert str(tmp_path / "a" / "same.py") in one.failure.reason
        assert str(tmp_path / "b" / "same.py") in one.failure.reason


def test_two_plugins_of_one_uri_are_refused_with_both_paths(tmp_path: Path) -> None:
    write(tmp_path / "one.py")
    write(tmp_path / "two.py")
    write(tmp_path / "three.py", "other")
    failures = {one.name: one.failure for one in reject_clashes(find(tmp_path), [])}
    assert failures.pop("three") is None
    for failure in failures.values():
        assert failure is not None
        assert failure.code == "already_exists"
        assert str(tmp_path / "one.py") in failure.reason
        assert str(tmp_path / "two.py") in failure.reason


SERVED = PLUGIN.replace(
    "@asynccontextmanager",
    """
from pluggd.services.rpc import rpc

class Thing:
    @rpc()
    async def do(self) -> None: ...

@asynccontextmanager""",
).replace("object)", "Thing)")


def test_two_kinds_of_one_service_are_refused_with_both_names(tmp_path: Path) -> None:
    write(tmp_path / "one.py", text=SERVED)
    write(tmp_path / "two.py", text=SERVED.replace('"test.', '"other.'))
    write(tmp_path / "three.py", text=PLUGIN.replace('"test.', '"silent.'))
    failures = {one.name: one.failure for one in reject_clashes(find(tmp_path), [])}
    assert failures.pop("three") is None  # nobody can call it
    for failure in failures.values():
        assert failure is not None
        assert failure.code == "already_exists"
        for text in ("test.thing.v1", "other.thing.v1", "called as thing.v1"):
            assert text in failure.reason


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("pluggd.images.v1", "import IMAGES from pluggd.services.images instead"),
        ("acme.images.v1", "kind acme.images.v1 of .* would be called as images.v1"),
    ],
)
def test_what_pluggd_declares_is_taken(tmp_path: Path, name: str, rule: str) -> None:
    write(tmp_path / "mine.py", text=SERVED.replace("test.{kind}.v1", name))
    found = discover([tmp_path], installed=False)
    failures = {
        one.path: one.failure.reason
        for one in reject_clashes(found, [])
        if one.failure is not None
    }
    assert list(failures) == [str(tmp_path / "mine.py")]
    assert re.search(rule, failures[str(tmp_path / "mine.py")])


def test_another_name_for_an_interface_of_pluggd_is_no_other_service(
    tmp_path: Path,
) -> None:
    text = SERVED.replace('"test.{kind}.v1", Thing', '"acme.images.v1", Images')
    write(
        tmp_path / "mine.py", text="from pluggd.services.images import Images\n" + text
    )
    found = reject_clashes(discover([tmp_path], installed=False), [])
    failed = [one for one in found if one.failure is not None]
    assert [one.path for one in failed] == [str(tmp_path / "mine.py")]
    assert failed[0].failure is not None
    assert "would be called as images.v1" in failed[0].failure.reason


def test_what_is_disabled_clashes_with_nobody(tmp_path: Path) -> None:
    write(tmp_path / "a" / "same.py", "first")
    write(tmp_path / "b" / "same.py", "second")
    found = find(tmp_path / "a", tmp_path / "b")
    assert [one.failure for one in reject_clashes(found, ["test.first.v1.x"])] == [
        None,
        None,
    ]


def test_one_module_may_hold_several_plugins(tmp_path: Path) -> None:
    text = PLUGIN.replace("return Registration(", "return [Registration(").replace(
        "start=start)",
        'start=start), Registration(provides=Kind("test.more.v1", object), id="x",'
        " start=start)]",
    )
    write(tmp_path / "two.py", text=text)
    found = find(tmp_path)
    assert [one.uri for one in found] == ["test.more.v1.x", "test.thing.v1.x"]
    assert [one.failure for one in reject_clashes(found, [])] == [None, None]


def test_a_broken_module_is_not_left_half_imported(tmp_path: Path) -> None:
    write(tmp_path / "broken" / "inner.py", text="x = 1\n")
    write(tmp_path / "broken" / "__init__.py", text="from . import inner\n1 / 0\n")
    (one,) = find(tmp_path)
    assert one.failure is not None
    assert "ZeroDivisionError" in one.failure.reason
    assert not [
        name for name in sys.modules if name.endswith((".broken", ".broken.inner"))
    ]


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ('"test.{kind}.v1"', '"test.Thing"', "must be dotted lower-case names"),
        ('id="{id}"', 'id="no spaces"', 'identifier "no spaces" must match'),
        ('id="{id}"', "id=3", "id must be a str"),
        ("start=start", "start=start, config=dict", "config must be a Record class"),
        (
            "start=start",
            'start=start, requires=("x",)',
            "requires and wants hold kinds",
        ),
        ("start=start", "start=None", "start must be callable"),
        ("start=start", "start=start, live='size'", "live must be a tuple of names"),
        ("start(ctx)", "start()", "start must take one argument"),
        ("start(ctx)", "start(ctx, more)", "start must take one argument"),
        ("object)", "object())", "the interface of a kind must be a class, as in"),
        ("pluggd_register()", "pluggd_register(config)", "takes no arguments"),
        ("pluggd_register()", "register()", "marks register() with @hookimpl"),
        ("return Registration", "return dict", "returned a dict, not a Registration"),
        (
            "return Registration",
            "return [] and Registration",
            "returned no Registration",
        ),
    ],
)
def test_a_registration_that_cannot_be_is_told(
    tmp_path: Path, before: str, after: str, reason: str
) -> None:
    write(tmp_path / "wrong.py", text=PLUGIN.replace(before, after))
    (one,) = find(tmp_path)
    assert one.failure is not None
    assert reason in one.failure.reason


@pytest.mark.parametrize(
    "wrong",
    [
        "def pluggd_register(context):\n    return None",
        "def pluggd_regster():\n    return None",
        "def pluggd_register():\n    raise ValueError('not today')",
    ],
)
def test_a_wrong_hook_is_the_failure_of_its_module_alone(
    tmp_path: Path, wrong: str
) -> None:
    hook = f"from pluggd.plugin import hookimpl\n\n@hookimpl\n{wrong}\n"
    write(tmp_path / "a_wrong.py", text=hook)
    write(tmp_path / "b_right.py", "right")
    write(tmp_path / "c_right.py", "another")
    assert {one.name: one.failure is None for one in find(tmp_path)} == {
        "a_wrong": False,
        "b_right": True,
        "c_right": True,
    }


@pytest.mark.parametrize(
    "signature",
    [
        "a: set[int]) -> None",
        "a: list[Inner]) -> None",
        "a: int) -> dict[str, complex]",
    ],
)
def test_a_type_that_nobody_could_be_told_of_is_refused(
    tmp_path: Path, signature: str
) -> None:
    before = (
        "\nclass Inner(Record, frozen=True):\n    what: set[int] = set()\n\nclass Thing"
    )
    text = SERVED.replace("\nclass Thing", before).replace("self)", "self, *, b)")
    text = text.replace("b) -> None", signature)
    write(tmp_path / "wrong.py", text="from pluggd.model.record import Record\n" + text)
    (one,) = find(tmp_path)
    assert one.failure is not None
    assert "has no form on the wire, which has records, str" in one.failure.reason


def test_a_config_without_defaults_is_told(tmp_path: Path) -> None:
    text = PLUGIN.replace("start=start", "start=start, config=Needs").replace(
        "@asynccontextmanager",
        "from pluggd.model.record import Record\n"
        "class Needs(Record, frozen=True):\n    size: int\n\n@asynccontextmanager",
    )
    write(tmp_path / "wrong.py", text=text)
    (one,) = find(tmp_path)
    assert one.failure is not None
    assert "every field of Needs needs a default" in one.failure.reason


def test_a_directory_that_is_not_there_is_the_operators_mistake(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match=r"plugin_dirs: cannot read .*/nowhere"):
        find(tmp_path / "nowhere")


def test_installed_distributions_are_found_by_entry_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "acme_pluggd" / "__init__.py", "acme")
    info = tmp_path / "acme_pluggd-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: acme-pluggd\nVersion: 1.2\n"
    )
    (info / "entry_points.txt").write_text(
        "[pluggd.plugins]\nacme = acme_pluggd\nbroken = acme_pluggd.nowhere\n"
    )
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    assert [source.name for source in installed_sources([str(tmp_path)])] == [
        "acme",
        "broken",
    ]
    found = [one for one in discover(bundled=False) if one.origin == "acme-pluggd 1.2"]
    assert [(one.uri, one.failure is None) for one in found] == [
        ("broken", False),
        ("test.acme.v1.x", True),
    ]


def test_the_bundled_plugins_are_found() -> None:
    found = discover(installed=False)
    assert "pluggd.introspection.v1.core" in [one.uri for one in found]
    assert {one.origin for one in found} == {"bundled"}
    assert [one.uri for one in found if one.failure] == []
    assert all(Path(one.path).parent == bundled_dir() for one in found)


def test_a_directory_without_plugins_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "hello" / "plugins").mkdir(parents=True)
    directories = [str(tmp_path / "hello")]
    flags: dict[tuple[str, ...], list[str]] = {("plugin_dirs",): directories}
    configuration, _ = load_all(flags=flags)
    (warning,) = configuration.warnings
    assert f"{tmp_path / 'hello'} holds no plugin" in warning
    assert f'did you mean "{tmp_path / "hello" / "plugins"}"?' in warning
    (tmp_path / "hello" / "one.py").write_text("x = 1")
    assert not load_all(flags=flags)[0].warnings
