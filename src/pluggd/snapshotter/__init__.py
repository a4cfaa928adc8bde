# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a snapshotter on a local file system is made of.

`LocalSnapshotter` is the whole of `pluggd.services.snapshots.Snapshotter` but for one
thing: how a child comes from its parents, which a `Layout` says. The bundled `native`
(copies) and `overlayfs` are a layout each; one for another file system is, too.
"""

from pluggd.snapshotter.layout import Layout
from pluggd.snapshotter.local import LocalSnapshotter

__all__ = ["Layout", "LocalSnapshotter"]
