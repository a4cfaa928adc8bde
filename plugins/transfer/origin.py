# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Where blobs came from: the label `containerd.io/distribution.source.<host>`.

A push reads it, to let a registry take a blob from another of its repositories.
"""

from __future__ import annotations

from collections.abc import Mapping

from pluggd.model.labels import MAX_SIZE

PREFIX = "containerd.io/distribution.source."


def source_label(labels: Mapping[str, str], host: str, path: str) -> dict[str, str]:
    """The label with `path` added to the repositories it names; {} when it has it, or
    would become too long."""
    key = PREFIX + host
    known = [one for one in labels.get(key, "").split(",") if one]
    if path in known:
        return {}
    value = ",".join(sorted({*known, path}))
    return {} if len(key) + len(value) > MAX_SIZE else {key: value}


def sources(labels: Mapping[str, str], host: str, path: str) -> list[str]:
    """Repositories of this host that have the blob, the likeliest first; not `path`."""
    known = {one for one in labels.get(PREFIX + host, "").split(",") if one}
    wanted = path.split("/")

    def common(other: str) -> int:
        return sum(1 for a, b in zip(wanted, other.split("/"), strict=False) if a == b)

    return sorted(known - {path}, key=lambda other: (-common(other), other))
