# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What travels beside a call: namespace, lease, deadline, peer.

Carried in one context variable, in process and behind the socket alike, so that
no method has parameters for it. Everything that runs on behalf of a call sees it,
also inside a metadata transaction, which runs in another thread.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar

from pluggd.errors import FailedPrecondition
from pluggd.model.identifiers import validate_namespace
from pluggd.struct import Struct, replace


class Peer(Struct, frozen=True):
    """Who is at the other end of the socket, as the kernel noted it on connecting.

    pid: 0 for a process that the daemon's pid namespace does not have. groups: the
    supplementary ones.
    """

    uid: int
    gid: int
    pid: int
    groups: tuple[int, ...] = ()


class Call(Struct, frozen=True):
    """The surroundings of one call.

    `namespace` and `lease` are "" when not given. `request` is for log lines.
    """

    namespace: str = ""
    lease: str = ""
    peer: Peer | None = None
    request: str = ""
    traceparent: str = ""


NO_CALL = Call()
current_call: ContextVar[Call] = ContextVar("pluggd.call", default=NO_CALL)


def namespace() -> str:
    """The namespace of this call.

    Raises FailedPrecondition when there is none, InvalidArgument when it is no name.
    """
    name = current_call.get().namespace
    if not name:
        raise FailedPrecondition("namespace is required: failed precondition")
    validate_namespace(name)
    return name


def lease() -> str:
    """The lease under which this call works, or ""."""
    return current_call.get().lease


@contextmanager
def using(*, namespace: str | None = None, lease: str | None = None) -> Generator[None]:
    """Run a block with another namespace or lease; what is None stays as it is."""
    call = current_call.get()
    if namespace is not None:
        call = replace(call, namespace=namespace)
    if lease is not None:
        call = replace(call, lease=lease)
    token = current_call.set(call)
    try:
        yield
    finally:
        current_call.reset(token)
