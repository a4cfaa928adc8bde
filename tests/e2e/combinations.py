# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Configurations of a daemon with second implementations, chosen or dropped in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.plugins.content_s3.content_s3_setup import options
from tests.plugins.content_s3.s3_server import S3Server


@dataclass(frozen=True)
class Second:
    """The other implementation of a kind. short: the kind in [select]. first, second:
    ids of the bundled ones. module: where the second is."""

    short: str
    first: str
    second: str
    module: str
    decorates: bool = False

    @property
    def kind(self) -> str:
        return f"pluggd.{self.short}.v1"


KINDS = (
    Second("metadata", "lmdb", "sqlite", "metadata_sqlite"),
    Second("content", "local", "s3", "content_s3"),
    Second("events", "log", "memory", "events_memory"),
    Second("gc", "scheduler", "watermark", "gc_watermark"),
    Second("images", "store", "policy", "images_policy", decorates=True),
)

DROPPED = "dropped"
"""The id of what an operator brings."""

DROP_IN = f"""
from pluggd.model.record import replace
from pluggd.plugin import hookimpl
from plugins.{{module}} import registration

@hookimpl
def pluggd_register():
    return replace(
        registration.pluggd_register(), id="{DROPPED}", alternative=False
    )
"""


@dataclass(frozen=True)
class Combination:
    """Which kinds have their second implementation, and how it comes there: named in
    the configuration, or as a file in plugin_dirs that takes the place of the first."""

    metadata: bool
    content: bool
    events: bool
    gc: bool
    images: bool
    dropped: bool

    def __str__(self) -> str:
        chosen = "-".join(self.id(one) for one in KINDS if self.has(one))
        return chosen + ("-dropped-in" if self.dropped else "") or "first"

    def has(self, kind: Second) -> bool:
        return bool(getattr(self, kind.short))

    def id(self, kind: Second) -> str:
        """Without regard to how it comes there."""
        return kind.second if self.has(kind) else kind.first

    def uri(self, kind: Second) -> str:
        """The one that serves the kind."""
        if self.has(kind) and self.dropped:
            return f"{kind.kind}.{DROPPED}"
        return f"{kind.kind}.{self.id(kind)}"

    def config(self, directory: Path, s3: S3Server) -> dict[str, Any]:
        """config.toml; what is dropped in is written below the directory."""
        select: dict[str, str] = {}
        decorate: dict[str, list[str]] = {}
        disabled: list[str] = []
        for one in KINDS:
            if not self.has(one):
                continue
            id_ = self.uri(one).rpartition(".")[2]
            if self.dropped:
                directory.mkdir(exist_ok=True)
                text = DROP_IN.format(module=one.module)
                (directory / f"my_{one.short}.py").write_text(text)
            if one.decorates:
                decorate[one.short] = [id_]
            elif self.dropped:
                disabled.append(f"{one.kind}.{one.first}")
            else:
                select[one.short] = id_
        given = {
            "content": options(s3, prefix=str(self)),
            "images": {
                "allow": ["registry.example/**"],
                "required_labels": {"owner": "*"},
            },
        }
        return {
            "plugin_dirs": [str(directory)] if self.dropped else [],
            "disabled_plugins": disabled,
            "select": select,
            "decorate": decorate,
            "plugins": {
                self.uri(one): given[one.short]
                for one in KINDS
                if self.has(one) and one.short in given
            },
        }


COMBINATIONS = [
    Combination(*(bit == "1" for bit in row))
    for row in ("000000", "111111", "111000", "100110", "010101", "001011")
]
"""Any two of the six choices in all four ways."""
