# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Pure values and the rules that hold for them; nothing here does I/O."""
