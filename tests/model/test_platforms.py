# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""One spelling for a platform, and what runs where."""

from __future__ import annotations

import pytest

from pluggd.errors import InvalidArgument
from pluggd.model import platforms
from pluggd.model.platforms import (
    candidates,
    default,
    describe,
    normalize,
    parse,
    rank,
)
from pluggd.model.types import Platform


@pytest.fixture(autouse=True)
def _on_a_linux_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = ("Linux", "x86_64", "v3")
    monkeypatch.setattr(platforms, "describe_machine", lambda: machine)


def platform(text: str) -> Platform:
    os, architecture, variant, *_ = *text.split("/"), "", ""
    return Platform(os=os, architecture=architecture, variant=variant)


def runs(text: str) -> list[str]:
    return [describe(one) for one in candidates(platform(text))]


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("linux/amd64", "linux/amd64"),
        ("Linux/X86_64", "linux/amd64"),
        ("linux/x86-64", "linux/amd64"),
        ("linux/amd64/v1", "linux/amd64"),
        ("linux/amd64/V3", "linux/amd64/v3"),
        ("linux/i386", "linux/386"),
        ("linux/i686", "linux/386"),
        ("linux/aarch64", "linux/arm64"),
        ("linux/arm64/8", "linux/arm64"),
        ("linux/arm64/v8", "linux/arm64"),
        ("linux/arm64/v9", "linux/arm64/v9"),
        ("linux/armhf", "linux/arm/v7"),
        ("linux/armhf/v6", "linux/arm/v7"),
        ("linux/armel", "linux/arm/v6"),
        ("linux/arm", "linux/arm/v7"),
        ("linux/arm/5", "linux/arm/v5"),
        ("linux/arm/v8", "linux/arm/v8"),
        ("linux/arm/vx", "linux/arm/vx"),
        ("macos/arm64", "darwin/arm64"),
        ("/amd64", "linux/amd64"),
        ("linux/riscv64", "linux/riscv64"),
    ],
)
def test_one_spelling(text: str, normal: str) -> None:
    once = normalize(platform(text))
    assert describe(once) == normal
    assert normalize(once) == once


def test_the_version_of_the_system_is_kept() -> None:
    one = Platform(os="Windows", architecture="amd64", os_version="10.0.1")
    assert normalize(one).os_version == "10.0.1"


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("linux/arm64/v9", "linux/arm64/v9"),
        ("windows/x86_64", "windows/amd64"),
        ("arm64", "linux/arm64"),
        ("aarch64", "linux/arm64"),
        ("armhf", "linux/arm/v7"),
        ("windows", "windows/amd64"),
        ("macOS", "darwin/amd64"),
    ],
)
def test_what_is_left_out_is_this_hosts(text: str, meant: str) -> None:
    assert describe(parse(text)) == meant


@pytest.mark.parametrize("text", ["", "/", "linux/", "/amd64", "a//b", "a/b/c/d"])
def test_what_is_no_platform_is_refused_with_the_form(text: str) -> None:
    with pytest.raises(InvalidArgument, match=r"must be os\[/architecture") as caught:
        parse(text)
    assert str(caught.value).startswith(f'platform "{text}" must be')


def test_what_is_not_stated_is_unknown() -> None:
    assert describe(Platform()) == "unknown/unknown"
    assert describe(Platform(architecture="arm", variant="v6")) == "unknown/arm/v6"


def test_the_default_is_this_host() -> None:
    assert default() == Platform(os="linux", architecture="amd64", variant="v3")


def test_the_best_variant_that_runs_here_is_first() -> None:
    assert [describe(one) for one in candidates(default())] == [
        "linux/amd64/v3",
        "linux/amd64/v2",
        "linux/amd64",
        "linux/386",
    ]


@pytest.mark.parametrize(
    ("machine", "runs_there"),
    [
        ("linux/amd64", ["linux/amd64", "linux/386"]),
        (
            "linux/amd64/v3",
            ["linux/amd64/v3", "linux/amd64/v2", "linux/amd64", "linux/386"],
        ),
        (
            "linux/arm64",
            [
                "linux/arm64",
                "linux/arm/v8",
                "linux/arm/v7",
                "linux/arm/v6",
                "linux/arm/v5",
            ],
        ),
        ("linux/arm", ["linux/arm/v7", "linux/arm/v6", "linux/arm/v5"]),
        ("linux/arm/v5", ["linux/arm/v5"]),
        ("windows/386", ["windows/386"]),
        ("linux/s390x", ["linux/s390x"]),
    ],
)
def test_what_a_machine_runs_best_first(machine: str, runs_there: list[str]) -> None:
    assert runs(machine) == runs_there


def test_a_newer_arm_runs_what_an_older_does() -> None:
    assert runs("linux/arm64/v9")[:3] == [
        "linux/arm64/v9",
        "linux/arm64",
        "linux/arm/v8",
    ]


@pytest.mark.parametrize("variant", ["v8.5", "v9.2", "vx", "v", "v99999999999", "v²"])
@pytest.mark.parametrize("architecture", ["amd64", "arm64", "arm"])
def test_a_variant_of_any_form_runs_itself_first(
    architecture: str, variant: str
) -> None:
    found = runs(f"linux/{architecture}/{variant}")
    assert found[0] == f"linux/{architecture}/{variant}"
    assert len(found) == len(set(found)) < 20


def test_the_rank_is_the_place_among_the_candidates() -> None:
    wanted = candidates(platform("linux/amd64/v2"))
    assert rank(platform("linux/amd64/v2"), wanted) == 0
    assert rank(platform("LINUX/x86_64"), wanted) == 1
    assert rank(platform("linux/i386"), wanted) == 2
    assert rank(platform("linux/amd64/v3"), wanted) is None
    assert rank(platform("windows/amd64"), wanted) is None
    assert rank(platform("unknown/unknown"), wanted) is None


def test_an_entry_without_a_platform_is_taken_last() -> None:
    wanted = candidates(platform("linux/amd64"))
    assert rank(None, wanted) == len(wanted)


def test_the_version_of_the_system_does_not_count() -> None:
    entry = Platform(os="windows", architecture="amd64", os_version="10.0.1")
    assert rank(entry, candidates(platform("windows/amd64"))) == 0
