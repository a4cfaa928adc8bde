# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Mounting: what a snapshot's `Mount` records mean to the kernel.

    mount_all(mounts, target)     put them in place, all or none
    unmount(target)               take everything at a path away again
    with mounted(mounts) as path: see the file system at some path for a while

Everything here blocks (run it in a thread) and works on the calling process's mount
namespace. Errors say what the kernel refused, and why when it says so.
"""

from pluggd.mount.mounting import mount_all, unmount
from pluggd.mount.temporary import mounted

__all__ = ["mount_all", "mounted", "unmount"]
