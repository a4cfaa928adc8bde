# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
