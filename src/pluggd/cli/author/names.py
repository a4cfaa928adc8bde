# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Names that an author may choose: those that meet nothing which is there already."""

from __future__ import annotations

import importlib.machinery
import keyword
import re
import sys
import sysconfig
from collections.abc import Iterable

from pluggd.core.discovery import bundled_dir, bundled_sources
from pluggd.errors import InvalidArgument
from pluggd.model.identifiers import validate_identifier


def module_name(name: str) -> str:
    """The module of a plugin of that name. Raises InvalidArgument with the rule."""
    module = name.replace("-", "_")
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", module) or keyword.iskeyword(
        module
    ):
        raise InvalidArgument(
            f'name "{name}": must be lower-case letters and digits, with single "-" or "_"'
            " between them, begin with a letter and be no word of Python:"
            " invalid argument"
        )
    validate_identifier(name)
    if module in {one.name for one in bundled_sources(bundled_dir())}:
        raise InvalidArgument(
            f'name "{name}": a plugin that comes with pluggd has its folder, and no two'
            f' plugins may; take another, as in "my-{name}": invalid argument'
        )
    if module in sys.stdlib_module_names or _is_installed(module):
        raise InvalidArgument(
            f'name "{name}": Python has a module {module} already, and one of the two would'
            f' hide the other; take another, as in "my-{name}": invalid argument'
        )
    return module


def _is_installed(module: str) -> bool:
    """Of this environment; a module that happens to lie here does not count."""
    places = [sysconfig.get_path(name) for name in ("purelib", "platlib")]
    found = importlib.machinery.PathFinder.find_spec(module, places)
    return module == "pluggd" or (found is not None and found.origin is not None)


def class_name(module: str, sources: Iterable[str]) -> str:
    """For what implements the kind: the plugin's name, unless a source has it for
    something else."""
    name = "".join(part.title() for part in module.split("_"))
    taken = {word for source in sources for word in re.findall(r"\w+", source)}
    return f"{name}Plugin" if name in taken else name
