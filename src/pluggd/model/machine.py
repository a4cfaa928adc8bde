# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Which machine this is, as platforms of images name it.

The one module of `model` that asks the system: once, and for what does not change.
"""

from __future__ import annotations

import platform as host
from functools import cache

CPUINFO = "/proc/cpuinfo"
ENOUGH = 8192
"""Bytes that hold the first processor; the kernel makes up the text as it is read."""

# The levels of the x86-64 psABI, by the names that the kernel has for their features.
_LEVELS = (
    frozenset(["cx16", "lahf_lm", "popcnt", "pni", "sse4_1", "sse4_2", "ssse3"]),
    frozenset(["abm", "avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe", "xsave"]),
    frozenset(["avx512bw", "avx512cd", "avx512dq", "avx512f", "avx512vl"]),
)


def amd64_level(flags: set[str]) -> int:
    """1 to 4: the highest level of which a processor has all features, and of those
    below it."""
    level = 1
    for needed in _LEVELS:
        if not needed <= flags:
            break
        level += 1
    return level


@cache
def describe_machine() -> tuple[str, str, str]:
    """Operating system, architecture and variant, as the system calls them; "" for a
    variant that it does not tell."""
    machine = host.machine().lower()
    if machine in ("x86_64", "amd64"):
        return host.system(), machine, f"v{amd64_level(_flags())}"
    if machine.startswith("armv") and machine[4:5].isdigit():
        return host.system(), "arm", f"v{machine[4]}"
    return host.system(), machine, ""


def _flags() -> set[str]:
    """Those of the first processor; none where the kernel does not tell."""
    try:
        with open(CPUINFO, encoding="ascii", errors="replace") as file:
            lines = file.read(ENOUGH).splitlines()
    except OSError:
        return set()
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() == "flags":
            return set(value.split())
    return set()
