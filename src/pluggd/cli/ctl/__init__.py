# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The commands of pluggctl, one module per group, each imported when it is used."""
