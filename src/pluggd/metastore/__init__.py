# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What metadata stores on a disk have in common, whatever keeps their tables.

Group commit by one thread with functions on the loop, the schema's version, the
processes beside the daemon, and the store itself over an `Engine`. Nothing here knows
LMDB or SQLite. This file imports nothing: the processes beside the daemon begin here.
"""
