# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Where a registry may send this daemon: not into networks that only the daemon sees.

A registry answers with addresses of others: where a blob lies, where tokens are made.
The daemon often runs where more can be reached than from outside (a cloud's metadata
server, a database on localhost), so an address may not lead further inside than the
one that named it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable, Sequence
from enum import IntEnum
from urllib.parse import urlsplit

import trio

from pluggd.errors import DataLoss, PermissionDenied

Lookup = Callable[[str], Awaitable[Sequence[str]]]
"""The addresses of a host name. Raises OSError."""


class Reach(IntEnum):
    """How far inside an address is."""

    PUBLIC = 0
    PRIVATE = 1
    HERE = 2


def reach_of(address: str) -> Reach:
    """Of an IP address. Raises ValueError."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    mapped = getattr(ip, "ipv4_mapped", None)
    ip = mapped or ip
    if ip.is_loopback or ip.is_link_local or ip.is_unspecified:
        return Reach.HERE
    return Reach.PRIVATE if ip.is_private or ip.is_multicast else Reach.PUBLIC


def is_address(url: str) -> bool:
    """Whether it is one of http or https, of a host, and without a login in it."""
    try:
        parts = urlsplit(url)
        named = bool(parts.hostname) and parts.username is None
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and named


async def lookup(host: str) -> list[str]:
    """The addresses of a name, by the system's resolver."""
    found = await trio.socket.getaddrinfo(host, None, type=trio.socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


async def reach(host: str, look: Lookup) -> Reach:
    """The furthest inside that a name leads.

    A name that is not known here leads nowhere, except through a proxy, which is
    outside."""
    try:
        return reach_of(host)
    except ValueError:
        pass
    try:
        addresses = await look(host)
    except OSError:
        return Reach.PUBLIC
    return max((reach_of(address) for address in addresses), default=Reach.PUBLIC)


async def check_leads(
    source: tuple[str, str],
    target: tuple[str, str],
    what: str,
    look: Lookup,
    trusted: Sequence[str] = (),
) -> None:
    """Raises DataLoss for a step from HTTPS to HTTP, PermissionDenied for one further
    inside. source, target: scheme and host; what: `redirect` or `token server`;
    trusted: hosts to which registries may lead all the same."""
    (scheme, host), (to_scheme, to_host) = source, target
    if to_scheme not in ("http", "https"):
        raise DataLoss(f'{host}: {what} with the scheme "{to_scheme}": data loss')
    if scheme == "https" and to_scheme != "https":
        raise DataLoss(
            f"{host}: {what} leads from https to http ({to_host}), where anybody on the "
            "way could change or read what is sent: data loss"
        )
    if to_host in (host, *trusted):
        return
    inside = await reach(to_host, look)
    if inside > Reach.PUBLIC and inside > await reach(host, look):
        raise PermissionDenied(
            f"{host}: {what} leads to {to_host}, which is inside a network that the "
            "registry is not in; add it to trusted_hosts if it is meant: "
            "permission denied"
        )
