# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Which machine this is: levels of amd64 processors, and what is not told."""

from __future__ import annotations

import platform as host
from collections.abc import Generator
from pathlib import Path

import pytest

from pluggd.model import machine
from pluggd.model.machine import amd64_level, describe_machine

V2 = "cx16 lahf_lm popcnt pni sse4_1 sse4_2 ssse3"
V3 = "abm avx avx2 bmi1 bmi2 f16c fma movbe xsave"
V4 = "avx512bw avx512cd avx512dq avx512f avx512vl"


@pytest.fixture(autouse=True)
def _asked_anew() -> Generator[None]:
    describe_machine.cache_clear()
    yield
    describe_machine.cache_clear()


@pytest.mark.parametrize(
    ("flags", "level"),
    [
        ("", 1),
        (f"fpu sse2 {V2}", 2),
        (f"{V2} {V3}", 3),
        (f"{V2} {V3} {V4} amx", 4),
        (f"{V2} {V4}", 2),
        (f"{V3} {V4}", 1),
        (f"{V2} {V3}".replace("movbe", ""), 2),
    ],
)
def test_a_level_needs_all_its_features_and_those_below(flags: str, level: int) -> None:
    assert amd64_level(set(flags.split())) == level


@pytest.mark.parametrize(
    ("name", "text", "described"),
    [
        ("x86_64", f"processor\t: 0\nflags\t\t: {V2} {V3}\n", ("x86_64", "v3")),
        ("x86_64", "processor\t: 0\n", ("x86_64", "v1")),
        ("armv6l", "", ("arm", "v6")),
        ("armv7l", "", ("arm", "v7")),
        ("aarch64", "", ("aarch64", "")),
        ("riscv64", "", ("riscv64", "")),
    ],
)
def test_a_machine_is_described_by_what_the_kernel_tells(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    text: str,
    described: tuple[str, str],
) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    monkeypatch.setattr(machine, "CPUINFO", str(tmp_path / "cpuinfo"))
    monkeypatch.setattr(host, "machine", lambda: name)
    assert describe_machine()[1:] == described


def test_a_kernel_that_does_not_tell_has_the_lowest_level(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "CPUINFO", str(tmp_path / "none"))
    monkeypatch.setattr(host, "machine", lambda: "x86_64")
    assert describe_machine()[1:] == ("x86_64", "v1")
