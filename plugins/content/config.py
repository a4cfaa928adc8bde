# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The options of the content store, as an operator writes them."""

from __future__ import annotations

from pluggd.contents.options import Options


class Config(Options, frozen=True):
    """Section `[plugins."pluggd.content.v1.local"]` of config.toml."""
