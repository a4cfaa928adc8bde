# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""One plugin, started by hand: what `pluggd.testing` offers, under its old name."""

from pluggd.testing import started as started
