# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""`python -m pluggd` is `pluggd`."""

from pluggd.cli.entry import main

if __name__ == "__main__":
    main()
