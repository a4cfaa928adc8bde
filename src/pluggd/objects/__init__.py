# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Objects over any ordered key-value store: names, references, events, collection.

What a metadata provider needs beyond bytes under keys, written once against the
`KV` of `kv.py`: the key rule, implicit namespaces, the edge index, the event log,
and the collector. Pure code; the provider brings storage, threads and time.
"""
