# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The exit codes of `pluggd`, which scripts and service managers rely on.

docs/operating.md explains them, and 2, which is click's for a wrong command line.
"""

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_CONFIG = 3
EXIT_RUNNING = 4
EXIT_REFUSED = 5
EXIT_STUCK = 6
