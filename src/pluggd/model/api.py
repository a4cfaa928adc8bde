# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Versions of the plugin API: which one this is, and which ones it takes.

`pluggd.plugin` and the interfaces of `pluggd.services` only grow: what worked with an
older minor version works with this one. A plugin says for which it was written.
"""

from __future__ import annotations

import re

from pluggd.errors import InvalidArgument

API = "1.0"
"""The plugin API of this pluggd."""

OLDEST = "1.0"
"""The oldest that is not deprecated. What is older, and of the same or the last major
version, is taken with a warning."""

_FORM = r"(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)"


def judge(asked: str, api: str = API, oldest: str = OLDEST) -> str:
    """A warning, or "" when there is nothing to say.

    Raises InvalidArgument when a plugin of that version cannot work here.
    """
    match = re.fullmatch(_FORM, asked)
    if match is None:
        raise InvalidArgument(
            f'api "{asked}" must be the plugin API it was written for, as in'
            f' api="{api}": invalid argument'
        )
    version = int(match[1]), int(match[2])
    if version > _parsed(api):
        raise InvalidArgument(
            f"was written for plugin API {asked}, and this pluggd has {api}:"
            " upgrade pluggd, or take an older release of the plugin: invalid argument"
        )
    if version[0] < _parsed(oldest)[0] - 1:
        raise InvalidArgument(
            f"was written for plugin API {asked}, and this pluggd, with {api}, takes"
            f" {_parsed(oldest)[0] - 1}.0 and later: ask for a newer release of the"
            " plugin: invalid argument"
        )
    if version < _parsed(oldest):
        return (
            f"was written for plugin API {asked}, which is deprecated: this pluggd has"
            f" {api}, and a later one will take {oldest} and later alone"
        )
    return ""


def _parsed(version: str) -> tuple[int, int]:
    major, minor = version.split(".")
    return int(major), int(minor)
