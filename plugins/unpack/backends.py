# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What unpacking works with, in one place."""

from __future__ import annotations

from pluggd.services.content import Content
from pluggd.services.diff import Diff
from pluggd.services.images import Images
from pluggd.services.leases import Leases
from pluggd.services.snapshots import Snapshots
from pluggd.struct import Struct

from .config import Config


class Backends(Struct, frozen=True):
    content: Content
    images: Images
    leases: Leases
    snapshots: Snapshots
    diff: Diff
    config: Config
