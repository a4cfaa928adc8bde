# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What importing a plugin does beside giving a registration: it must do nothing.

Run as a program of its own: `python -m pluggd.cli.author.purity PATH` prints a JSON list
of findings. The process is thrown away afterwards, with whatever the plugin did to it.
"""

from __future__ import annotations

import atexit
import inspect
import io
import json
import os
import signal
import sys
import threading
import types
from pathlib import Path
from typing import Any

from pluggd.cli.author.places import sources_at
from pluggd.core.discovery import examine

WATCHED = (
    "socket.connect",
    "socket.bind",
    "socket.sendto",
    "subprocess.Popen",
    "os.system",
    "os.exec",
    "os.fork",
    "os.posix_spawn",
    "os.mkdir",
    "os.remove",
    "os.rename",
    "os.rmdir",
    "os.symlink",
    "os.link",
    "os.chmod",
    "os.chown",
    "os.truncate",
    "os.kill",
    "shutil.rmtree",
    "sqlite3.connect",
    "urllib.Request",
)
"""Events of the interpreter's audit that no import needs (`open` is looked at apart)."""


class Audit:
    """Hears what the interpreter does while it is on."""

    def __init__(self, places: list[str]) -> None:
        self.on = False
        self.findings: list[str] = []
        self._places = places

    def hear(self, event: str, arguments: tuple[object, ...]) -> None:
        if not self.on:
            return
        if event == "open":
            path, _, flags = (*arguments, None, None)[:3]
            writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR)
            if not writes or "__pycache__" in str(path):
                return
            what = f"opens {path} for writing"
        elif event in WATCHED:
            if any("__pycache__" in str(one) for one in arguments):
                return
            what = f"calls {event}({', '.join(_short(one) for one in arguments[:2])})"
        else:
            return
        self.note(what)

    def note(self, what: str) -> None:
        if self.on:
            self.findings.append(what + self._where())

    def _where(self) -> str:
        frame: types.FrameType | None = inspect.currentframe()
        while frame is not None:
            if frame.f_code.co_filename.startswith(tuple(self._places)):
                return f" ({frame.f_code.co_filename}:{frame.f_lineno})"
            frame = frame.f_back
        return ""


class Printed(io.StringIO):
    """Takes the place of `sys.stdout`, and says who prints there."""

    def __init__(self, audit: Audit) -> None:
        super().__init__()
        self._audit = audit

    def write(self, text: str, /) -> int:
        self._audit.note("prints to stdout")
        return len(text)


def note_threads(audit: Audit) -> None:
    """Hear of threads, also of those that are over when the import is; the interpreter
    has no event for them."""
    original = threading.Thread.start

    def start(self: threading.Thread) -> None:
        audit.note("starts a thread")
        original(self)

    setattr(threading.Thread, "start", start)  # noqa: B010 - no type has it replaced


def _short(value: object) -> str:
    """A number, a text or an address as it is, and of everything else the class."""
    text = repr(value)
    return text if text[:1] in "0123456789'b(-" else type(value).__name__


State = dict[str, dict[str, Any]]


def state() -> State:
    """What of the process belongs to all of it, by topic."""
    return {
        "leaves a thread": {
            f"{one.name} ({one.ident})": True for one in threading.enumerate()
        },
        "leaves open": _descriptors(),
        "changes the environment:": dict(os.environ),
        "changes the": {"current directory": os.getcwd(), "umask": _umask()},
        "takes the signal": {
            number.name: signal.getsignal(number) for number in signal.Signals
        },
        "changes": {
            "sys.excepthook": sys.excepthook,
            "sys.stdout": sys.stdout,
            "sys.stderr": sys.stderr,
            "sys.settrace": sys.gettrace(),
            "threading.excepthook": threading.excepthook,
            "sys.path": list(sys.path),
            "sys.meta_path": list(sys.meta_path),
            "the logging of everybody": _root_logging(),
        },
        "registers functions with": {"atexit": getattr(atexit, "_ncallbacks")()},  # noqa: B009
        "replaces": _callables(),
    }


def _descriptors() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[os.readlink(f"/proc/self/fd/{name}")] = True
        except OSError:
            continue  # it was that of the listing itself
    return found


def _umask() -> int:
    now = os.umask(0o077)
    os.umask(now)
    return now


def _root_logging() -> tuple[object, ...]:
    logging = sys.modules.get("logging")
    root = getattr(logging, "root", None)
    return () if root is None else (root.level, *map(id, root.handlers))


def _callables() -> dict[str, Any]:
    """Functions and classes of all modules, and the methods of those classes."""
    found: dict[str, Any] = {}
    for name, module in list(sys.modules.items()):
        for attribute, value in list(getattr(module, "__dict__", {}).items()):
            if callable(value):
                found[f"{name}.{attribute}"] = value
            if isinstance(value, type) and value.__module__ == name:
                for member, inner in dict(vars(value)).items():
                    if callable(inner):
                        found[f"{name}.{attribute}.{member}"] = inner
    return found


def differences(before: State, after: State) -> list[str]:
    """A phrase for each thing that is not as it was."""
    found: list[str] = []
    for topic, old in before.items():
        new = after[topic]
        for key in sorted({*old, *new}):
            if topic == "replaces":
                if key in old and old[key] is not new.get(key):
                    found.append(f"replaces {key}")
                elif key in new and key not in old:
                    # Mostly of modules that were imported meanwhile; but a class that
                    # was there may have got what hides a method of its bases.
                    owner = key.rpartition(".")[0]
                    if owner in old and old[owner] is new.get(owner):
                        found.append(f"adds {key}")
            elif topic.startswith("leaves"):
                if key in new and key not in old:
                    found.append(f"{topic} {key}")
            elif old.get(key) != new.get(key):
                found.append(f"{topic} {key}")
    return found


def main() -> None:
    # Compiled modules are the interpreter's business, and it opens their files by number,
    # which tells nobody whose they are.
    sys.dont_write_bytecode = True
    path = Path(sys.argv[1])
    places = [str(path.resolve()), str(path.resolve().parent)]
    audit = Audit(places)
    sources = sources_at(path)
    for heavy in ("logging", "asyncio", "ssl", "pluggd.client", "pluggd.testing"):
        # What these do when they are imported is not the plugin's.
        __import__(heavy)
    sys.addaudithook(audit.hear)
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a plugin prints is not to be taken for findings
    sys.stdout = Printed(audit)
    note_threads(audit)
    before = state()
    audit.on = True
    for source in sources:
        examine(source)
    audit.on = False
    found = [*dict.fromkeys(audit.findings), *differences(before, state())]
    json.dump(found, out)
    out.flush()
    os._exit(0)  # threads that the plugin left behind would keep the process


if __name__ == "__main__":
    main()
