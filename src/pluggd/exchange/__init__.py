# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Numbered events to whoever subscribes or polls, for plugins that say where they come
from and what is left of the past."""
