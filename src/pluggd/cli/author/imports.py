# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Import statements as a sorter and a formatter leave them."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence

from pluggd.cli.author.stubs import WIDTH


def joined(lines: Sequence[str]) -> str:
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
