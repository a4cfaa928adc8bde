# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Both ends must find the same socket."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pluggd import paths


@pytest.fixture
def user(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr(os, "geteuid", lambda: 1234)
    monkeypatch.setenv("HOME", "/home/me")
    for name in ("XDG_DATA_HOME", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_root_uses_the_directories_of_the_system(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/0")
    assert paths.default_root() == Path("/var/lib/pluggd")
    assert paths.default_address() == Path("/run/pluggd/pluggd.sock")
    assert paths.default_config() == Path("/etc/pluggd/config.toml")


def test_a_plain_user_uses_the_xdg_directories(user: pytest.MonkeyPatch) -> None:
    user.setenv("XDG_DATA_HOME", "/data")
    user.setenv("XDG_RUNTIME_DIR", "/run/user/1234")
    user.setenv("XDG_CONFIG_HOME", "/conf")
    assert paths.default_root() == Path("/data/pluggd")
    assert paths.default_address() == Path("/run/user/1234/pluggd/pluggd.sock")
    assert paths.default_config() == Path("/conf/pluggd/config.toml")


def test_without_xdg_variables_there_is_a_fallback(user: pytest.MonkeyPatch) -> None:
    user.setenv("XDG_DATA_HOME", "relative/is/ignored")
    assert paths.default_root() == Path("/home/me/.local/share/pluggd")
    assert paths.default_address() == Path("/tmp/pluggd-1234/pluggd.sock")
    assert paths.default_config() == Path("/home/me/.config/pluggd/config.toml")
