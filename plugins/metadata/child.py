# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""How to run one module of this plugin in a process of its own.

The child imports `plugins.metadata.<module>` from this very folder, in a checkout and
in a wheel alike, without running the `__init__` of the plugin, which would import
trio and the registration. It calls the module's `main(arguments)`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

_BOOT = """\
import sys, types
folder, module, *arguments = sys.argv[1:]
for name, path in (("plugins", folder), ("plugins.metadata", folder + "/metadata")):
    package = sys.modules[name] = types.ModuleType(name)
    package.__path__ = [path]
__import__("importlib").import_module("plugins.metadata." + module).main(arguments)
"""


def command(module: str, *arguments: str) -> list[str]:
    """The command line, to be run with `environment()`."""
    folder = Path(__file__).resolve().parent
    return [sys.executable, "-P", "-c", _BOOT, str(folder.parent), module, *arguments]


def environment() -> dict[str, str]:
    """The variables of this process, and its module search path."""
    path = os.pathsep.join(entry for entry in sys.path if entry)
    return {**os.environ, "PYTHONPATH": path}
