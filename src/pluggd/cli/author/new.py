# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""`pluggd plugin new`: a plugin that works, to be changed until it is yours.

The files come from `templates`, which are text with `$names`. A form is where they go;
what is in them depends on the kind alone.
"""

from __future__ import annotations

import keyword
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template

from pluggd import __version__
from pluggd.cli.author.kinds import Known, known, new_name
from pluggd.cli.author.stubs import WIDTH, stubs
from pluggd.errors import AlreadyExists, InvalidArgument
from pluggd.model.api import API
from pluggd.model.identifiers import validate_identifier
from pluggd.testing.suites import SUITES, Where

TEMPLATES = Path(__file__).parent / "templates"
STARTING = (
    "from collections.abc import AsyncGenerator",
    "from contextlib import asynccontextmanager",
    "from pluggd.model.record import Record",
    "from pluggd.plugin import Context",
    "from pluggd.plugin import Registration",
    "from pluggd.plugin import hookimpl",
)
"""What a known kind in a single file needs beside its methods."""
FORMS = ("single-file", "folder", "package")


@dataclass(frozen=True)
class Made:
    """files: what was written, in order. commands: what to type next, each with what it
    does."""

    files: Sequence[Path]
    commands: Sequence[tuple[str, str]]


def new_plugin(name: str, kind: str, form: str, directory: Path) -> Made:
    """Write a plugin into `directory/<name>`.

    Raises InvalidArgument (name, kind), AlreadyExists when there is something already.
    """
    module = name.replace("-", "_")
    if not re.fullmatch(r"[a-z][a-z0-9_]*", module) or keyword.iskeyword(module):
        raise InvalidArgument(
            f'name "{name}": must be lower-case letters, digits, "-" and "_", begin with'
            " a letter and be no word of Python: invalid argument"
        )
    validate_identifier(name)
    root = directory / name
    if root.exists():
        raise AlreadyExists(f"{root}: remove it or take another name: already exists")
    served = known(kind)
    values = {
        "name": name,
        "module": module,
        "form": form,
        "version": __version__,
        "api": API,
    }
    values |= _of_known(served) if served else _of_new(new_name(kind), module)
    values["class_"] = "".join(part.title() for part in module.split("_"))
    files = {root / place: text for place, text in _files(values, form, served).items()}
    for file, text in files.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return Made(tuple(files), _commands(root, values, served))


# --- what is in the files


def _of_known(served: Known) -> dict[str, str]:
    interface = served.kind.interface.__name__
    methods, imports = stubs(served.kind.interface, served.kind.service)
    own = [
        f"from {served.module} import {name}" for name in (served.constant, interface)
    ]
    needed = [*imports, "from pluggd.errors import NotImplemented_"]
    return {
        "kind": served.kind.name,
        "service": served.kind.service,
        "constant": served.constant,
        "interface": interface,
        "methods": methods.rstrip(),
        "imports": _joined(needed),
        "kind_imports": _joined(own),
        "kind_module": served.module,
        "all_imports": _joined([*needed, *own, *STARTING]),
    }


def _of_new(kind: str, module: str) -> dict[str, str]:
    word = kind.split(".")[-2]
    return {
        "kind": kind,
        "service": kind.partition(".")[2],
        "constant": word.upper(),
        "interface": "".join(part.title() for part in word.split("_")) + "Service",
    }


def _joined(lines: Sequence[str]) -> str:
    """Imports as a sorter leaves them: Python's own first, one statement a module."""
    modules: dict[str, set[str]] = {}
    for line in lines:
        if match := re.fullmatch(r"from (\S+) import (.+)", line):
            modules.setdefault(match[1], set()).add(match[2])
    statements = {line.split()[1]: line for line in lines if line.startswith("import ")}
    parts: dict[bool, list[str]] = {True: [], False: []}
    for name, line in sorted(statements.items()):
        parts[name.split(".")[0] in sys.stdlib_module_names].append(line)
    for module, names in sorted(modules.items()):
        listed = sorted(names, key=_case_order)
        line = f"from {module} import {', '.join(listed)}"
        if len(line) > WIDTH:
            inside = "".join(f"    {name},\n" for name in listed)
            line = f"from {module} import (\n{inside})"
        parts[module.split(".")[0] in sys.stdlib_module_names].append(line)
    return "\n\n".join("\n".join(part) for part in parts.values() if part)


def _case_order(name: str) -> tuple[int, str]:
    """CONSTANTS, then Classes, then functions."""
    return (
        0 if name.isupper() and len(name) > 1 else 1 if name[0].isupper() else 2,
        name,
    )


def _files(values: dict[str, str], form: str, served: Known | None) -> dict[str, str]:
    """Path below the root, and text. The order is that in which to read them."""
    module = values["module"]
    flavour = "known" if served else "new"
    suite = SUITES.get(served.kind.name) if served else None
    home = f"src/{module}" if form == "package" else f"plugins/{module}"
    files: dict[str, str] = {"README.md": "README.md"}
    if form == "single-file":
        values["module_imports"] = f"from {module} import Config, pluggd_register"
        files[f"plugins/{module}.py"] = f"{flavour}_single.py"
    else:
        values["module_imports"] = (
            f"from {module}.config import Config\n"
            f"from {module}.registration import pluggd_register"
        )
        files[f"{home}/__init__.py"] = "init.py"
        files[f"{home}/config.py"] = f"{flavour}_config.py"
        files[f"{home}/service.py"] = f"{flavour}_service.py"
        files[f"{home}/registration.py"] = f"{flavour}_registration.py"
    if form == "package":
        files[f"{home}/py.typed"] = "py.typed"
        files["pyproject.toml"] = "pyproject.toml"
        values["plugin_dirs"] = "# Installed with pip, it is found without plugin_dirs."
    else:
        files["pyproject.toml"] = "tools.toml"
        values["plugin_dirs"] = 'plugin_dirs = ["plugins"]'
    if served:
        values |= _tests_of(suite, values)
    else:
        values["test_imports"] = _new_imports(form, values)
    files["config.toml"] = f"{flavour}_config.toml"
    files[f"tests/test_{module}.py"] = f"{flavour}_test.py"
    return {place: _fill(template, values) for place, template in files.items()}


def _new_imports(form: str, values: dict[str, str]) -> str:
    module, constant = values["module"], values["constant"]
    if form == "single-file":
        return f"from {module} import {constant}, Config, pluggd_register"
    return f"{values['module_imports']}\nfrom {module}.service import {constant}"


def _tests_of(suite: Where | None, values: dict[str, str]) -> dict[str, str]:
    """What the test of a known kind imports, and the rules of the kind if it has any."""
    imports = [
        "from pathlib import Path",
        "import trio",
        "from pluggd.testing import started",
    ]
    conformance = "\n"
    if suite is not None:
        names = {"suite": suite.suite, "fixture": suite.fixture}
        conformance = "\n\n\n" + _fill("known_conformance.py", values | names)
        imports += [
            "import pytest",
            "from collections.abc import AsyncGenerator",
            f"from {suite.module} import {suite.suite}",
            f"from {values['kind_module']} import {values['interface']}",
        ]
    return {
        "test_imports": f"{_joined(imports)}\n\n{values['module_imports']}",
        "conformance": conformance,
    }


def _fill(template: str, values: dict[str, str]) -> str:
    text = (TEMPLATES / f"{template}.tmpl").read_text()
    return Template(text).substitute(values)


def _commands(
    root: Path, values: dict[str, str], served: Known | None
) -> list[tuple[str, str]]:
    test = (f"python -m pytest {root}", "its test; it is green")
    run = (f"pluggd run --config {root}/config.toml", "a daemon with it")
    if values["form"] == "package":
        test = (f"pip install -e {root} && {test[0]}", test[1])
    if served:
        return [test, (f"pluggd plugin check {root}", "what is wrong with it"), run]
    call = f'pluggctl call {values["service"]}.greet \'{{"name": "you"}}\''
    return [test, run, (call, "in another terminal")]
