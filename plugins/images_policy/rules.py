# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The rules themselves, as pure functions: a name or labels in, what is wrong out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

from pluggd.struct import Struct

EVERYTHING = "**"


class Rules(Struct, frozen=True):
    """allow: patterns of repositories. required_labels: patterns of values, by label."""

    allow: tuple[str, ...]
    required_labels: Mapping[str, str]

    def wrong_name(self, name: str) -> str | None:
        """Which rule refuses this name, and the way out; None when none does."""
        if EVERYTHING in self.allow:
            return None
        repository = repository_of(name)
        if repository is None:
            return (
                "its name names no repository, and allow has patterns of those: name it"
                ' as in "registry.example/path:tag", or add "**" to allow'
            )
        if any(_pattern(text).fullmatch(repository) for text in self.allow):
            return None
        patterns = ", ".join(f'"{text}"' for text in self.allow) or "empty"
        return (
            f'repository "{repository}" is not in allow ({patterns}): add a pattern for'
            " it there"
        )

    def wrong_labels(self, labels: Mapping[str, str]) -> str | None:
        """As `wrong_name`, of the labels that an image is to have."""
        for key, pattern in self.required_labels.items():
            value = labels.get(key, "")
            if not value:
                return f'label "{key}" is in required_labels and absent: set it'
            if not _value(pattern).fullmatch(value):
                return (
                    f'label "{key}" is "{value}", and required_labels wants "{pattern}":'
                    " change the label"
                )
        return None


def repository_of(name: str) -> str | None:
    """Host and path of an image's name, without tag and digest; None when it has no
    host in front. Case is kept: a host in capitals matches only what is written so."""
    rest, _, _ = name.partition("@")
    head, slash, last = rest.rpartition("/")
    repository = f"{head}{slash}{last.partition(':')[0]}"
    host, slash, path = repository.partition("/")
    if not slash or not path or not (host == "localhost" or set(".:[") & set(host)):
        return None
    parts = path.split("/")
    if "" in parts or ".." in parts or "." in parts:
        return None
    return repository


@lru_cache(maxsize=1024)
def _pattern(text: str) -> re.Pattern[str]:
    parts = re.split(r"(\*\*|\*)", text)
    wild = {"**": ".*", "*": "[^/]*"}
    return re.compile(
        "".join(wild.get(part) or re.escape(part) for part in parts), re.DOTALL
    )


@lru_cache(maxsize=1024)
def _value(text: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, text.split("*"))), re.DOTALL)
