# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""`pluggd plugin new`: a plugin that works, to be changed until it is yours.

The files come from `templates`, which are text with `$names`. A form is where they go;
what is in them depends on the kind alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template

from pluggd import __version__
from pluggd.cli.author.decorator import decorator
from pluggd.cli.author.imports import joined
from pluggd.cli.author.kinds import Known, decorated, new_name, provided, providers
from pluggd.cli.author.names import class_name, module_name
from pluggd.cli.author.stubs import stubs
from pluggd.errors import AlreadyExists
from pluggd.model.api import API
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
FAKES = (
    *("content", "images", "leases", "containers", "namespaces"),
    *("events", "gc", "snapshotter"),
)
"""Kinds of which a fake is a fixture, `pluggd_images` and so on."""
LINT = 'lint.ignore = ["B006"] # the defaults are those of the interface\n'
"""For ruff, where the methods are those of a kind that is there."""
FORMS = ("single-file", "folder", "package")


@dataclass(frozen=True)
class Made:
    """files: what was written, in order. commands: what to type next, each with what it
    does."""

    files: Sequence[Path]
    commands: Sequence[tuple[str, str]]


def new_plugin(
    name: str, kind: str, form: str, directory: Path, *, over: bool = False
) -> Made:
    """Write a plugin into `directory/<name>`; over: one that decorates the kind.

    Raises InvalidArgument (name, kind), AlreadyExists when there is something already.
    """
    module = module_name(name)
    root = directory / name
    if root.exists():
        raise AlreadyExists(f"{root}: remove it or take another name: already exists")
    served = decorated(kind) if over else provided(kind)
    values = {
        "name": name,
        "module": module,
        "form": form,
        "version": __version__,
        "api": API,
        "requires": "nothing",
        "lint": "" if served is None else LINT,
        "class_": "_",
    }
    if served is None:
        values |= _of_new(new_name(kind), module)
    else:
        values |= _of_decorator(served) if over else _of_known(served)
    flavour = "over" if over else "known" if served else "new"
    without = _files(values, form, served, flavour)
    values["class_"] = class_name(module, _python(without))
    texts = _files(values, form, served, flavour)
    files = {root / place: text for place, text in texts.items()}
    for file, text in files.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return Made(tuple(files), _commands(root, values, served))


def _python(texts: Mapping[str, str]) -> list[str]:
    return [text for place, text in texts.items() if place.endswith(".py")]


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
        "imports": joined(needed),
        "kind_imports": joined(own),
        "kind_module": served.module,
        "all_imports": joined([*needed, *own, *STARTING]),
    }


def _of_decorator(served: Known) -> dict[str, str]:
    made = decorator(served.kind.interface)
    interface = served.kind.interface.__name__
    taken = [f"\n        self.{name} = below.{name}" for name in made.others]
    own = f"from {served.module} import {interface}"
    constant = f"from {served.module} import {served.constant}"
    needed = [*made.imports, "from pluggd.errors import PermissionDenied", own]
    kind, ids = served.kind.name, providers(served.kind.name)
    one_of = len(ids) > 1
    start = [constant, own, "from pluggd.model.figures import counter"]
    return {
        "kind": served.kind.name,
        "requires": "nothing but what it decorates (`[decorate]`)",
        "word": served.kind.name.split(".")[1],
        "service": served.kind.service,
        "constant": served.constant,
        "interface": interface,
        "kind_module": served.module,
        "method": made.method,
        "signature": made.signature,
        "forward": made.forward,
        "select_toml": f'[select]\n"{kind}" = "{ids[0]}"\n\n' if one_of else "",
        "select_config": f'    "select": {{"{kind}": "{ids[0]}"}},\n' if one_of else "",
        "taken": "".join(taken),
        "example": made.example,
        "imports": joined(needed),
        "registration_imports": joined(
            [*start, *(one for one in STARTING if "pluggd.plugin" in one)]
        ),
        "all_imports": joined([*needed, *start, *STARTING]),
    }


def _of_new(kind: str, module: str) -> dict[str, str]:
    word = kind.split(".")[-2]
    return {
        "kind": kind,
        "service": kind.partition(".")[2],
        "constant": word.upper(),
        "interface": "".join(part.title() for part in word.split("_")) + "Service",
    }


def _files(
    values: dict[str, str], form: str, served: Known | None, flavour: str
) -> dict[str, str]:
    """Path below the root, and text. The order is that in which to read them."""
    module = values["module"]
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
    if flavour == "over":
        values |= _tests_over(values)
    elif served:
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
        "test_imports": f"{joined(imports)}\n\n{values['module_imports']}",
        "conformance": conformance,
    }


def _tests_over(values: dict[str, str]) -> dict[str, str]:
    """What the test of a decorator imports; where a fake of the kind is a fixture, how it
    refuses is tested as well."""
    imports = [
        "from pathlib import Path",
        "import trio",
        "from pluggd.testing import running_daemon",
    ]
    registered = values["module_imports"]
    refusal = ""
    if values["example"] and values["word"] in FAKES:
        refusal = "\n\n\n" + _fill("over_refusal.py", values).rstrip()
        imports += [
            "import pytest",
            "from pluggd.errors import InvalidArgument",
            "from pluggd.errors import NotFound",
            "from pluggd.errors import PermissionDenied",
            "from pluggd.services import call",
            "from pluggd.testing import started",
            *(
                f"from {values['kind_module']} import {name}"
                for name in (values["constant"], values["interface"])
            ),
        ]
    else:
        registered = registered.replace("import Config, ", "import ")
        registered = registered.rpartition("import Config\n")[2]
    return {"test_imports": f"{joined(imports)}\n\n{registered}", "refusal": refusal}


def _fill(template: str, values: dict[str, str]) -> str:
    text = (TEMPLATES / f"{template}.tmpl").read_text()
    return Template(text).substitute(values)


def _commands(
    root: Path, values: dict[str, str], served: Known | None
) -> list[tuple[str, str]]:
    test = (f"python -m pytest {root}", "its test; it is green")
    run = (f"pluggd run --config {root}/config.toml", "a daemon with it")
    if values["form"] == "package":
        test = (f"pip install -e '{root}[test]' && {test[0]}", test[1])
    if served:
        return [test, (f"pluggd plugin check {root}", "what is wrong with it"), run]
    call = f'pluggctl call {values["service"]}.greet \'{{"name": "you"}}\''
    return [test, run, (call, "in another terminal")]
