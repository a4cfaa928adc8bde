# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a peer says beside its requests: `$/item`, `$/credit`, `$/end`, `$/cancel`, `$/fds`.

Each is about a call in flight. One for a call that has ended is ignored, since it may
have been on its way; one that is malformed is a fault of the connection.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeGuard

from pluggd.core.calls import ActiveCall
from pluggd.core.descriptors import Descriptors
from pluggd.core.inflight import DeferredCall
from pluggd.errors import Canceled, PluggdError
from pluggd.wire.errors import Malformed
from pluggd.wire.messages import CANCEL, CREDIT, END, FDS, ITEM, Notification

Calls = Mapping[int, ActiveCall | DeferredCall]


def handle_notification(message: Notification, calls: Calls, fds: Descriptors) -> None:
    """Do what it says; names that are not known are ignored.

    Raises ProtocolError for one whose params are not what its name takes.
    """
    name = message.method
    if not name.startswith("$/"):
        return
    if name == CREDIT:
        msgid, count = _ints(message, "msgid", "n")
        if count < 0:
            raise Malformed(f"{CREDIT} is negative")
        call = calls.get(msgid)
        if call is not None and call.outgoing is not None:
            call.outgoing.add_credit(count)
    elif name == ITEM:
        _item(message, calls)
    elif name == END:
        call = calls.get(_ints(message, "msgid")[0])
        if call is not None and call.incoming is not None:
            call.incoming.end()
    elif name == CANCEL:
        call = calls.get(_ints(message, "msgid")[0])
        if call is not None:
            call.cancel(Canceled(f"{call.method.name}: canceled by the caller"))
    elif name == FDS:
        fds.announced(*_ints(message, "msgid", "n"))


def _item(message: Notification, calls: Calls) -> None:
    params = message.params
    if not _is_list(params) or len(params) != 2 or type(params[0]) is not int:
        raise Malformed(f"{ITEM} is [msgid, value]")
    call = calls.get(params[0])
    if call is None or call.incoming is None:
        return
    try:
        call.incoming.add(params[1], message.escaped)
    except PluggdError as error:
        call.cancel(error)


def _ints(message: Notification, *names: str) -> list[int]:
    params = message.params
    if (
        not _is_list(params)
        or len(params) != len(names)
        or any(type(value) is not int for value in params)
    ):
        raise Malformed(f"{message.method} is [{', '.join(names)}], all integers")
    return params


def _is_list(value: object) -> TypeGuard[list[Any]]:
    return type(value) is list
