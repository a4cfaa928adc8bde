# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What runs in the worker processes. Free of trio, of msgspec, and of the plugin."""
