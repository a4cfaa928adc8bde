# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The options, and what may be listened on."""

from __future__ import annotations

from pluggd.errors import InvalidArgument
from pluggd.model.record import Record


class Config(Record, frozen=True):
    """Section `[plugins."pluggd.metrics.v1.prometheus"]` of config.toml."""

    listen: str = ""
    """Address and port of an HTTP server for /metrics, as in "127.0.0.1:9464" or
    "[::1]:9464". Empty: none."""
    allow_remote: bool = False
    """Whether `listen` may be an address that other machines reach. Whoever reaches it
    may read: there is no other check."""
    connections: int = 16
    """HTTP connections at a time; further ones are closed at once."""
    timeout: float = 10.0
    """Seconds for one HTTP connection, from its beginning to its end."""

    def __post_init__(self) -> None:
        if self.listen:
            parse_listen(self.listen, allow_remote=self.allow_remote)
        if self.connections < 1:
            raise InvalidArgument(
                f"connections = {self.connections}: must be at least 1"
            )
        if not self.timeout > 0:
            raise InvalidArgument(f"timeout = {self.timeout:g}: must be more than 0")


def parse_listen(text: str, *, allow_remote: bool) -> tuple[str, int]:
    """Address and port. Raises InvalidArgument that begins with `listen`."""
    from ipaddress import ip_address  # not at a start without HTTP

    host, colon, port = text.rpartition(":")
    bare = host[1:-1] if host[:1] == "[" and host[-1:] == "]" else host
    try:
        address = ip_address(bare)
    except ValueError:
        address = None
    number = int(port) if port.isascii() and port.isdigit() else -1
    bracketed = bare != host
    if (
        address is None
        or not colon
        or not 0 <= number <= 65535
        or bracketed != (address.version == 6)
    ):
        raise InvalidArgument(
            f'listen = "{text}": must be an IP address and a port, as in '
            '"127.0.0.1:9464" or "[::1]:9464"'
        )
    if not address.is_loopback and not allow_remote:
        raise InvalidArgument(
            f'listen = "{text}": other machines reach this address and may read '
            "everything there: listen on 127.0.0.1, or set allow_remote = true"
        )
    return bare, number
