# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The options of the resolver, as an operator writes them."""

from __future__ import annotations

from pluggd.errors import InvalidArgument
from pluggd.model.record import Record


def check_absolute(key: str, path: str) -> None:
    """Raises InvalidArgument for a path that would start where the daemon happens to."""
    if path and not path.startswith("/"):
        raise InvalidArgument(
            f'{key} = "{path}": must be an absolute path: invalid argument'
        )


class Login(Record, frozen=True):
    """How to log in at one registry. Secrets stand in files, not here."""

    username: str = ""
    """The user. Default: none, the file holds an identity token."""

    secret_file: str = ""
    """A file with the password or the identity token, and nothing else; an absolute
    path."""

    def __post_init__(self) -> None:
        """Raises InvalidArgument."""
        check_absolute("secret_file", self.secret_file)


class Config(Record, frozen=True):
    """Section `[plugins."pluggd.resolver.v1.registry"]` of config.toml."""

    hosts_dir: str = "/etc/pluggd/hosts.d"
    """Where `<host>/hosts.toml` says which mirrors, certificates and headers a registry
    has; an absolute path, read for each pull. Default "/etc/pluggd/hosts.d"."""

    plain_http: list[str] = []
    """Registries that are talked to by HTTP, as in names of images, with the port.
    Those of localhost are anyhow. Default none."""

    trusted_hosts: list[str] = []
    """Hosts to which a registry may redirect, send for a token or, by a manifest, for a
    layer, though they are inside a network that the registry is not in. Default none."""

    logins: dict[str, Login] = {}
    """How to log in, by registry as in names of images. Default none."""

    docker_config: str = "auto"
    """Docker's file of logins and credential helpers: "auto" for
    `$DOCKER_CONFIG/config.json` or `~/.docker/config.json` of the daemon's user, ""
    for none. Asked after `logins` and the plugins. Default "auto"."""

    max_manifest: int = 8 << 20
    """Bytes of one manifest or index. Default 8 MiB."""

    attempts: int = 5
    """How often a request is tried, and how often in a row a download may break off
    without getting on. Default 5."""

    stall_timeout: float = 30.0
    """Seconds without a byte after which a connection is given up. Default 30."""

    max_wait: float = 60.0
    """Seconds that a registry may ask to wait (`Retry-After`); when it asks for more,
    the pull fails and says so. Default 60."""

    def __post_init__(self) -> None:
        """Raises InvalidArgument naming the key, its value and its range."""
        check_absolute("hosts_dir", self.hosts_dir)
        if self.docker_config != "auto":
            check_absolute("docker_config", self.docker_config)
        for key in ("max_manifest", "attempts"):
            value = getattr(self, key)
            if value < 1:
                raise InvalidArgument(
                    f"{key} = {value}: must be at least 1: invalid argument"
                )
        for key in ("stall_timeout", "max_wait"):
            value = getattr(self, key)
            if not 0 < value < float("inf"):
                raise InvalidArgument(
                    f"{key} = {value}: must be more than 0: invalid argument"
                )
