# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""`pluggd plugin`: what helps the author of a plugin. Nothing here runs in a daemon."""
