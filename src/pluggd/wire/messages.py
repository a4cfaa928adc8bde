# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The three messages of msgpack-RPC, and the names that pluggd gives a meaning.

Plain values: what they say is the dispatcher's business. Nothing here knows how
they are written (`decoder`, `encoder`) or carried.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from pluggd.struct import Struct

MAX_MSGID = 2**32 - 1

ITEM = "$/item"
"""`[msgid, value]`: one item of the stream of a call."""
END = "$/end"
"""`[msgid]`: the caller has no more items."""
CREDIT = "$/credit"
"""`[msgid, n]`: n more items may be sent."""
CANCEL = "$/cancel"
"""`[msgid]`: the caller does not want the answer any more; it comes all the same."""
FDS = "$/fds"
"""`[msgid, n]`: the next message carries n descriptors, which come with these bytes."""
ERROR = "$/error"
"""`[text]`: why the daemon closes the connection, when no request can be named."""

HELLO = "rpc.v1.hello"

ERROR_MAP = "error_map"
FDS_FEATURE = "fds"
STREAMS = "streams"
TIMESTAMP = "timestamp"
FEATURES = (ERROR_MAP, FDS_FEATURE, STREAMS, TIMESTAMP)
"""What `rpc.v1.hello` may agree on."""
OWN_FEATURES = (ERROR_MAP, FDS_FEATURE, STREAMS)
"""What pluggd's own clients ask for: to them a time is an int."""


class Request(Struct, frozen=True):
    """A call. `params` as sent: by the convention `[arguments, metadata]`.

    escaped: some str in it holds bytes that are no UTF-8, as lone surrogates
    (PEP 383). Some clients send binary so; a field of text must refuse it.
    """

    msgid: int
    method: str
    params: Any
    escaped: bool = False


class Response(Struct, frozen=True):
    """The answer to a call. `error` is nil for success, else text or a map."""

    msgid: int
    error: Any
    result: Any


class Notification(Struct, frozen=True):
    """A message without an answer. `escaped` as in Request."""

    method: str
    params: Any
    escaped: bool = False


Message: TypeAlias = Request | Response | Notification
