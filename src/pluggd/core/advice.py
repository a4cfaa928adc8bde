# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What to do about a plugin that does not come up, in the words of its author.

The lifecycle knows what happened; these are the sentences that say which rule that broke
and how to keep it. Text in, text out.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path, PurePath

from pluggd.core.discovery import Found


def in_cycle(cycle: str) -> str:
    """cycle: as `a -> b -> a`."""
    return (
        f"is part of a cycle of requirements: {cycle}: take one of them out of requires"
        " and wants (react to its events instead, or make the two one plugin):"
        " failed precondition"
    )


def start_too_long(seconds: float, waits_at: str) -> str:
    return (
        f"start did not return within {seconds:g} s{_at(waits_at)}: wait in a task of"
        " ctx.spawn, or give the registration a longer deadline"
    )


def stop_too_long(seconds: float, waits_at: str) -> str:
    return (
        f"stop did not end within {seconds:g} s{_at(waits_at)}: what stands after yield"
        " must not wait that long"
    )


def deaf(what: str, seconds: float) -> str:
    """what: "start did not return" or "stop did not end"."""
    return (
        f"{what} within {seconds:g} s and ignores being cancelled: it blocks the thread"
        " (use trio.to_thread.run_sync) or catches trio.Cancelled; its code stays in"
        " memory until the daemon restarts"
    )


def nobody_provides(kind: str, known: Iterable[str], broken: Iterable[str]) -> str:
    """known: kinds that there are. broken: modules that could not say what they hold."""
    text = "no plugin provides it"
    modules = ", ".join(broken)
    if modules:
        text += f", unless it is one that could not be loaded: {modules}"
    return text + meant(kind, known)


def meant(kind: str, known: Iterable[str], near: float = 0.7) -> str:
    """`; did you mean "x"?`, or "". Only the word that names a kind or service is
    compared: what stands around it is the same for many. near: how alike, up to 1."""
    import difflib  # for mistakes only, and a thousand lines

    names = list(known)
    close = difflib.get_close_matches(
        _word(kind), {_word(name) for name in names}, 1, near
    )
    of_word = [name for name in names if close and _word(name) == close[0]]
    nearest = difflib.get_close_matches(kind, of_word, 1, 0)
    return f'; did you mean "{nearest[0]}"?' if nearest else ""


def _word(kind: str) -> str:
    return kind.split(".")[-2] if "." in kind else kind


def makes_its_own(kind: str, constant: str, module: str) -> str:
    """Of a plugin that declares anew what pluggd declares in that module."""
    return (
        f"makes a kind of its own named {kind}: import {constant} from {module} instead"
    )


def empty_directory(directory: Path) -> str:
    """Of a directory in plugin_dirs that holds nothing that could be a plugin."""
    text = (
        f"plugin_dirs: {directory} holds no plugin, which is a .py file or a folder with"
        " __init__.py"
    )
    inside = directory / "plugins"
    return f'{text}; did you mean "{inside}"?' if inside.is_dir() else text


FIND_ONE = (
    ": install a plugin that does, name its directory in plugin_dirs, or move the kind"
    " from requires to wants"
)
"""To whoever requires what nobody provides."""


_GENERATORS = {
    "generator didn't yield": "start returned without yield: yield what the plugin offers,"
    " or raise Skip",
    "generator didn't stop": "start yields more than once: leave one yield",
}


def of_generator(error: BaseException) -> str:
    """What a `RuntimeError` of contextlib means for a start, or ""."""
    return _GENERATORS.get(str(error), "") if type(error) is RuntimeError else ""


def with_file(found: Found, reason: str) -> str:
    """The reason, and which file of somebody else's is meant if it does not say so."""
    path = found.path
    if found.origin in ("bundled", "proxy") or path == found.uri or path in reason:
        return reason
    if found.origin != str(PurePath(path).parent):
        # Installed: the module, and the distribution that brought it.
        path = f"{path} of {found.origin}"
    return f"{reason} ({path})"


def _at(place: str) -> str:
    return f" (it waits at {place})" if place else ""
