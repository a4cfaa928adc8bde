# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The interfaces on which plugins meet: one Protocol, its records and its Kind each.

A service is declared once, here. The dispatcher, the client's stubs, the schema
that `introspection.v1.describe` returns and docs/rpc.md all come from it.
Nothing here implements anything; interfaces only grow (a field or a method with
a default is added, nothing is removed or renamed within a version).
"""
