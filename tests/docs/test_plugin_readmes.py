# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The folders of the bundled plugins are alike, and say what their registrations say."""

from __future__ import annotations

import ast
import importlib
import re
import tomllib
from pathlib import Path
from typing import Any, cast

import pytest

from pluggd.model.record import record_fields, to_plain
from pluggd.plugin import NoConfig, Registration
from pluggd.services.kind import Kind
from pluggd.services.schema import service_schema

ROOT = Path(__file__).parents[2]
FOLDERS = sorted(path.parent.name for path in ROOT.glob("plugins/*/registration.py"))
BULLETS = ["Provides", "Requires", "Wants", "Configuration", "Events", "Labels"]

of_every_plugin = pytest.mark.parametrize("name", FOLDERS)


def registration(name: str) -> Registration[Any, Any]:
    module = importlib.import_module(f"plugins.{name}.registration")
    found: Registration[Any, Any] = module.pluggd_register()
    return found


def readme(name: str) -> str:
    return (ROOT / "plugins" / name / "README.md").read_text()


def bullets(name: str) -> dict[str, str]:
    """The list under the first paragraph, by the first word of each item."""
    block = readme(name).split("\n\n")[2]
    items = [
        " ".join(item.split())
        for item in re.split(r"^- ", block, flags=re.MULTILINE)[1:]
    ]
    return {re.split(r"[:,]", item)[0]: item for item in items}


def quoted(text: str, pattern: str = r"pluggd\.[a-z]+\.v\d+") -> set[str]:
    return set(re.findall(rf"`({pattern})`", text))


def table(name: str) -> dict[str, tuple[str, str]]:
    """default and meaning by key."""
    lines = [line for line in readme(name).splitlines() if line.startswith("| ")]
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    if rows:
        assert [*rows[0]] == ["key", "default", "meaning"]
    return {key.strip("`"): (default, what) for key, default, what in rows[2:]}


def test_every_folder_is_a_plugin() -> None:
    folders = {path.parent.name for path in ROOT.glob("plugins/*/*.py")}
    assert folders == set(FOLDERS)


@of_every_plugin
def test_the_package_says_where_to_read_on_and_registers(name: str) -> None:
    source = (ROOT / "plugins" / name / "__init__.py").read_text()
    docstring, imports, names = ast.parse(source).body
    assert isinstance(docstring, ast.Expr)
    assert ast.unparse(docstring.value).endswith("See README.md.'")
    # As in a plugin of anybody's, so that a copy of the folder is one.
    assert ast.unparse(imports) == "from .registration import pluggd_register"
    assert ast.unparse(names) == "__all__ = ['pluggd_register']"


@of_every_plugin
def test_the_options_stand_in_a_module_of_their_own(name: str) -> None:
    config = registration(name).config
    if config is not NoConfig:
        assert (config.__module__, config.__name__) == (
            f"plugins.{name}.config",
            "Config",
        )
        assert registration(name).uri in (config.__doc__ or "")


@of_every_plugin
def test_the_description_is_a_title(name: str) -> None:
    description = registration(name).description
    assert description[0].isupper()
    assert not description.endswith(".")


@of_every_plugin
def test_the_readme_has_the_same_shape(name: str) -> None:
    text = readme(name)
    assert text.startswith(f"# {name}\n\n")
    assert list(bullets(name)) == [
        bullet for bullet in BULLETS if bullet != "Wants" or registration(name).wants
    ]
    assert 10 <= len(text.splitlines()) <= 40


@of_every_plugin
def test_the_readme_says_what_is_provided_and_served(name: str) -> None:
    provides = bullets(name)["Provides"]
    found = registration(name)
    assert f"`{found.uri}`" in provides
    service = service_schema(found.provides)
    assert quoted(provides, r"[a-z]+\.v\d+") == (
        {service.name} if service.methods and found.provides.served else set()
    )


@of_every_plugin
@pytest.mark.parametrize("bullet", ["Requires", "Wants"])
def test_the_readme_says_what_is_needed(name: str, bullet: str) -> None:
    kinds: tuple[Kind[Any], ...] = getattr(registration(name), bullet.lower())
    assert quoted(bullets(name).get(bullet, "")) == {kind.name for kind in kinds}


@of_every_plugin
def test_the_table_has_every_option_with_its_default(name: str) -> None:
    config = registration(name).config
    rows = table(name)
    defaults = {one.name: _toml(to_plain(one.default)) for one in record_fields(config)}
    documented = {
        key: tomllib.loads(f"x = {default.strip('`')}")["x"]
        for key, (default, _) in rows.items()
    }
    assert documented == defaults
    assert list(documented) == list(defaults)
    assert bullets(name)["Configuration"] == (
        f"Configuration: {'the table below' if defaults else 'none'}"
    )


def _toml(value: object) -> object:
    """TOML has one kind of list."""
    return [*cast("tuple[object, ...]", value)] if isinstance(value, tuple) else value


@of_every_plugin
def test_every_module_that_the_readme_names_exists(name: str) -> None:
    for file in re.findall(r"`(\w+\.py)`", readme(name)):
        assert (ROOT / "plugins" / name / file).exists(), file


def test_the_table_of_plugins_is_that_of_the_registrations() -> None:
    text = (ROOT / "README.md").read_text()
    rows = re.findall(
        r"^\| \[(\w+)\]\(plugins/(\w+)\) \| `([\w.]+)` \|", text, re.MULTILINE
    )
    assert {(title, folder) for title, folder, _ in rows} == {
        (name, name) for name in FOLDERS
    }
    for _, folder, uri in rows:
        assert uri == registration(folder).uri
