# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""A plugin-based daemon: see README.md for what it does, ARCHITECTURE.md for how.

This package imports nothing, so that a command line that only needs the
version or the errors pays for neither trio nor msgspec.
"""

__version__ = "0.1.0"
