# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Platforms as OCI and Go name them: parsing, normal form, what runs where.

The normal form and the fall-backs follow containerd's `platforms` package: an
amd64 machine also runs 386, an arm64 one also arm, a variant also lower ones.
"""

from __future__ import annotations

from pluggd.errors import InvalidArgument
from pluggd.model.machine import describe_machine
from pluggd.model.record import replace
from pluggd.model.types import Platform

_ARCHITECTURES = {
    "x86_64": "amd64",
    "x86-64": "amd64",
    "aarch64": "arm64",
    "i386": "386",
    "i486": "386",
    "i586": "386",
    "i686": "386",
}
_OSES = {"macos": "darwin"}
_LEVELS = frozenset("123456789")


def normalize(platform: Platform) -> Platform:
    """The one spelling under which two equal platforms compare equal.

    Without an operating system, this host's is meant.
    """
    os = platform.os.lower() or describe_machine()[0].lower()
    os = _OSES.get(os, os)
    architecture = platform.architecture.lower()
    variant = platform.variant.lower()
    architecture = _ARCHITECTURES.get(architecture, architecture)
    if architecture == "armhf":
        architecture, variant = "arm", "v7"
    elif architecture == "armel":
        architecture, variant = "arm", "v6"
    elif architecture == "arm":
        variant = {"": "v7", "5": "v5", "6": "v6", "7": "v7", "8": "v8"}.get(
            variant, variant
        )
    elif (architecture == "arm64" and variant in ("8", "v8")) or (
        architecture == "amd64" and variant == "v1"
    ):
        variant = ""
    return replace(platform, os=os, architecture=architecture, variant=variant)


def parse(text: str) -> Platform:
    """`os`, `architecture`, `os/architecture` or `os/architecture/variant`.

    What is left out is this host's. Raises InvalidArgument.
    """
    parts = text.split("/")
    if not all(parts) or len(parts) > 3:
        raise InvalidArgument(
            f'platform "{text}" must be os[/architecture[/variant]]: invalid argument'
        )
    if len(parts) == 1:
        here = default()
        if parts[0].lower() in ("linux", "windows", "darwin", "macos", "freebsd"):
            # Without the level of the processor, which is not asked for here.
            level = "" if here.architecture == "amd64" else here.variant
            return normalize(replace(here, os=parts[0], variant=level))
        return normalize(Platform(os=here.os, architecture=parts[0]))
    variant = parts[2] if len(parts) == 3 else ""
    return normalize(Platform(os=parts[0], architecture=parts[1], variant=variant))


def describe(platform: Platform) -> str:
    """`linux/arm64/v9`; `unknown` for what is not stated."""
    shown = [platform.os or "unknown", platform.architecture or "unknown"]
    if platform.variant:
        shown.append(platform.variant)
    return "/".join(shown)


def default() -> Platform:
    """The platform of this host, with the level of its processor (`amd64/v3`)."""
    os, architecture, variant = describe_machine()
    return normalize(Platform(os=os, architecture=architecture, variant=variant))


def candidates(platform: Platform) -> list[Platform]:
    """What a machine of this platform runs, best first, itself included."""
    wanted = normalize(platform)
    os = wanted.os

    def variants(architecture: str, highest: int, lowest: int) -> list[Platform]:
        return [
            normalize(Platform(os=os, architecture=architecture, variant=f"v{number}"))
            for number in range(highest, lowest - 1, -1)
        ]

    lower: list[Platform] = []
    if wanted.architecture == "amd64":
        lower = variants("amd64", _number(wanted.variant, 1), 1)
        lower.append(Platform(os=os, architecture="386"))
    elif wanted.architecture == "arm64":
        lower = variants("arm64", _number(wanted.variant, 8), 8)
        lower += variants("arm", 8, 5)
    elif wanted.architecture == "arm":
        lower = variants("arm", _number(wanted.variant, 7), 5)
    return [wanted, *(one for one in lower if not _same(one, wanted))]


def rank(platform: Platform | None, wanted: list[Platform]) -> int | None:
    """How well an entry serves: 0 is best, None not at all.

    wanted: the candidates, best first. An entry without a platform is taken, last.
    """
    if platform is None:
        return len(wanted)
    entry = normalize(platform)
    for position, candidate in enumerate(wanted):
        if _same(entry, candidate):
            return position
    return None


def _same(one: Platform, other: Platform) -> bool:
    """Whether what runs on the one runs on the other; versions of systems aside."""
    return (one.os, one.architecture, one.variant) == (
        other.os,
        other.architecture,
        other.variant,
    )


def _number(variant: str, fallback: int) -> int:
    """The 9 of `v9.2`; the fallback for what is no such variant."""
    digits = variant.removeprefix("v").partition(".")[0]
    return int(digits) if digits in _LEVELS else fallback
