# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""msgpack-RPC as values: bytes in, messages out, and back (docs/rpc.md).

Nothing here waits or does I/O, and nothing knows a service: a client and the
daemon use the same code. The command line imports it, so it needs msgpack alone.
"""
