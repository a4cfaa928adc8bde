# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Plugins in processes of their own: the daemon's end, and the other one.

A proxy plugin is a plugin like any other whose object passes every call on to a
socket. Behind it stands a program in any language that serves the same methods as
msgpack-RPC; one in Python serves them with `serve_kind`.
"""

from pluggd.proxy.discovery import proxies
from pluggd.proxy.serving import serve_kind

__all__ = ["proxies", "serve_kind"]
