# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""OCI runtime specifications: what they are made of, and those of an image.

Pure but for `users`, which reads two files of a root filesystem. `build` is where to
begin to read.
"""
