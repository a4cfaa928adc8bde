# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What policies of collection have in common: their service, who waits, their totals."""
