# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Who may call what: the rules of `[rpc.access]`, as a pure function.

The socket's owner, group and mode decide who may connect; these rules narrow what
who is connected may do. Without rules everybody who can connect may do everything.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Literal

from pluggd.errors import PermissionDenied
from pluggd.model.record import Record
from pluggd.services.call import Peer


class AccessRule(Record, frozen=True):
    """One rule. It matches when every list that is not empty matches."""

    name: str = ""
    """Named in the refusal and in the log. Default: its number, from 1."""

    effect: Literal["allow", "deny"] = "allow"
    """What happens to a call that matches. Default: allow."""

    uids: list[int] = []
    """User ids of the caller. Default: any."""

    gids: list[int] = []
    """Group ids, of which the caller has one, primary or supplementary. Of a caller in
    more than 256 groups only the primary one counts. Default: any."""

    namespaces: list[str] = []
    """Patterns (`*`, `?`, `[...]`) of the call's namespace; a call without one has the
    namespace "". Default: any."""

    methods: list[str] = []
    """Patterns of the method's name, as in `images.v1.*`. Default: any."""


class AccessConfig(Record, frozen=True):
    """The rules in order; the first that matches decides."""

    default: Literal["allow", "deny"] = "allow"
    """What happens to a call that no rule matches. Default: allow."""

    rules: list[AccessRule] = []
    """The rules, each a table. One matches when all its lists do, and a list that is
    not there matches every call. Default: none. With all keys:

    [[rpc.access.rules]]
    name = "guests look"        # said in a refusal; default: its number, from 1
    effect = "allow"            # or "deny"; default: allow
    uids = [1000, 1001]         # of the caller
    gids = [100]                # any of the caller's groups
    namespaces = ["guest-*"]    # patterns; "" is a call without one
    methods = ["*.list", "*.get"]
    """


def check_access(
    config: AccessConfig, peer: Peer | None, namespace: str, method: str
) -> None:
    """Raises PermissionDenied, naming the rule, the caller and what it tried.

    A peer that is not known (None) matches no rule that names uids or gids.
    """
    for number, rule in enumerate(config.rules, 1):
        if _matches(rule, peer, namespace, method):
            if rule.effect == "allow":
                return
            raise _denied(f'rule "{rule.name or number}"', peer, namespace, method)
    if config.default == "deny":
        raise _denied('default = "deny"', peer, namespace, method)


def unmatched(
    config: AccessConfig, methods: Collection[str]
) -> Iterator[tuple[int, str]]:
    """The patterns that none of these methods matches, each with the index of its rule:
    what they are to allow stays denied, and what they are to deny allowed."""
    for index, rule in enumerate(config.rules):
        for pattern in rule.methods:
            if not any(fnmatchcase(method, pattern) for method in methods):
                yield index, pattern


def likely_for(pattern: str, methods: Collection[str]) -> list[str]:
    """What it may have been meant to be: the service of that name, or else a method, a
    service, a name in all of them."""
    split = [method.rpartition(".") for method in methods]
    services = {f"{service}.*": service.partition(".")[0] for service, _, _ in split}
    named = [service for service, word in services.items() if word == pattern]
    names = {f"*.{name}" for _, _, name in split}
    return named or [*methods, *services, *sorted(names)]


def _matches(rule: AccessRule, peer: Peer | None, namespace: str, method: str) -> bool:
    return (
        (not rule.uids or (peer is not None and peer.uid in rule.uids))
        and (not rule.gids or (peer is not None and _in_group(peer, rule.gids)))
        and _any(rule.namespaces, namespace)
        and _any(rule.methods, method)
    )


def _in_group(peer: Peer, gids: Sequence[int]) -> bool:
    return peer.gid in gids or any(gid in gids for gid in peer.groups)


def _any(patterns: Sequence[str], value: str) -> bool:
    return not patterns or any(fnmatchcase(value, pattern) for pattern in patterns)


def _denied(
    by: str, peer: Peer | None, namespace: str, method: str
) -> PermissionDenied:
    who = f"uid {peer.uid} gid {peer.gid}" if peer is not None else "unknown peer"
    where = f' in namespace "{namespace}"' if namespace else ""
    return PermissionDenied(
        f"{method}{where} is denied for {who} by {by} of [rpc.access]"
    )
