# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Where a registry is to be found: hosts.toml and its forerunners, read per pull.

    <hosts_dir>/<host>_<port>_ or <host>:<port> or <host> or _default/hosts.toml

The first directory that exists counts. Without a hosts.toml in it, `*.crt` and
`*.cert` with `*.key` are taken as Docker takes them. Everything here blocks and runs
in a thread.
"""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pluggd.errors import InvalidArgument
from pluggd.model.record import Record, convert
from pluggd.struct import Struct, field

CAPABILITIES = frozenset({"pull", "resolve", "push", "referrers"})


class HostFields(Record, frozen=True):
    """What hosts.toml says of one host; at its top level, of the registry itself."""

    server: str = ""
    capabilities: list[str] | None = None
    ca: str | list[str] | None = None
    client: str | list[str | list[str]] | None = None
    skip_verify: bool = False
    override_path: bool = False
    dial_timeout: str | float | None = None
    header: dict[str, str | list[str]] = {}
    host: dict[str, dict[str, Any]] = {}


class Host(Struct, frozen=True):
    """One server that may be asked. url: up to and with `/v2`. name: host and port,
    for which credentials are looked up. mirror: it is not the registry itself."""

    url: str
    name: str
    mirror: bool = False
    capabilities: frozenset[str] = CAPABILITIES
    headers: dict[str, str] = field(default_factory=dict[str, str])
    ca: tuple[str, ...] = ()
    client: tuple[tuple[str, str | None], ...] = ()
    skip_verify: bool = False
    dial_timeout: float | None = None

    @property
    def scheme(self) -> str:
        return self.url.partition(":")[0]

    @property
    def hostname(self) -> str:
        return urlsplit(self.url).hostname or ""

    def tls(self, *, foreign: bool = False) -> ssl.SSLContext | None:
        """None for plain HTTP. foreign: for where this host redirects to, which is not
        shown our certificate and is verified in any case. Raises InvalidArgument."""
        if self.scheme == "http" and not foreign:
            return None
        context = ssl.create_default_context()
        for file in self.ca:
            try:
                context.load_verify_locations(file)
            except OSError as error:
                raise _unreadable(self.name, "CA certificate", file, error) from error
        if foreign:
            return context
        for certificate, key in self.client:
            try:
                context.load_cert_chain(certificate, key)
            except OSError as error:
                raise _unreadable(
                    self.name, "client certificate", certificate, error
                ) from error
        if self.skip_verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


def find_hosts(
    name: str, hosts_dir: str, *, plain_http: bool = False, push: bool = False
) -> list[Host]:
    """The servers for the registry of this name, in the order in which to ask them.

    Raises InvalidArgument for a hosts.toml that cannot be read, with its path.
    """
    directory = _directory(name, hosts_dir)
    found: list[Host] = []
    server = Host(url=_default_url(name, plain_http), name=_server_name(name))
    if directory is not None:
        file = directory / "hosts.toml"
        if file.is_file():
            found, server = _read(file, name, server)
        else:
            server = _docker_layout(directory, name, server, plain_http)
    wanted = {"push"} if push else {"pull"}
    return [one for one in (*found, server) if wanted <= one.capabilities]


def is_localhost(name: str) -> bool:
    """Whether a host, with or without a port, is this machine."""
    host = urlsplit(f"//{name}").hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _server_name(name: str) -> str:
    return "registry-1.docker.io" if name == "docker.io" else name


def _default_url(name: str, plain_http: bool) -> str:
    local = is_localhost(name) and urlsplit(f"//{name}").port not in (None, 443)
    scheme = "http" if plain_http or local else "https"
    return f"{scheme}://{_server_name(name)}/v2"


def _directory(name: str, hosts_dir: str) -> Path | None:
    if not hosts_dir:
        return None
    host, colon, port = name.rpartition(":")
    names = [f"{host}_{port}_"] if colon and port.isdigit() else []
    for candidate in (*names, name, "_default"):
        directory = Path(hosts_dir, candidate)
        if directory.is_dir():
            return directory
    return None


def _read(file: Path, name: str, server: Host) -> tuple[list[Host], Host]:
    import tomllib  # few registries have such a file

    try:
        table = tomllib.loads(file.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InvalidArgument(f"{file}: {error}: invalid argument") from error
    top = _fields(table, file, "")
    url = server.url
    if top.server:
        url = _url(top.server, top.override_path, f"{file}: server")
    mirrors = [
        _host(
            _fields(entry, file, f'host."{address}"'),
            _url(
                address, bool(entry.get("override_path")), f'{file}: host."{address}"'
            ),
            file,
            mirror=True,
        )
        for address, entry in top.host.items()
    ]
    own = _host(top, url, file, mirror=url != server.url and name != "docker.io")
    return mirrors, own


def _fields(table: dict[str, Any], file: Path, where: str) -> HostFields:
    allowed = set(HostFields.__struct_fields__)
    if where:
        allowed -= {"server", "host"}
    unknown = sorted(set(table) - allowed)
    if unknown:
        raise InvalidArgument(
            f'{file}: unknown key "{unknown[0]}"{f" in {where}" if where else ""}; '
            f"there are {', '.join(sorted(allowed))}: invalid argument"
        )
    try:
        return convert(table, HostFields)
    except InvalidArgument as error:
        raise InvalidArgument(f"{file}: {where} {error}: invalid argument") from error


def _host(fields: HostFields, url: str, file: Path, *, mirror: bool) -> Host:
    given = fields.capabilities
    unknown = sorted(set(given or ()) - CAPABILITIES)
    if unknown:
        raise InvalidArgument(
            f'{file}: unknown capability "{unknown[0]}"; there are '
            f"{', '.join(sorted(CAPABILITIES))}: invalid argument"
        )
    near = file.parent
    return Host(
        url=url,
        name=urlsplit(url).netloc,
        mirror=mirror,
        capabilities=CAPABILITIES if given is None else frozenset(given),
        headers={
            key: value if isinstance(value, str) else ", ".join(value)
            for key, value in fields.header.items()
        },
        ca=tuple(str(near / one) for one in _listed(fields.ca)),
        client=_pairs(fields.client, near),
        skip_verify=fields.skip_verify,
        dial_timeout=_seconds(fields.dial_timeout, file),
    )


def _listed(value: str | Sequence[str] | None) -> list[str]:
    return [value] if isinstance(value, str) else list(value or ())


def _pairs(
    value: str | Sequence[str | list[str]] | None, near: Path
) -> tuple[tuple[str, str | None], ...]:
    """A file with both, or pairs of certificate and key."""
    found: list[tuple[str, str | None]] = []
    for one in [value] if isinstance(value, str) else value or ():
        files = [one] if isinstance(one, str) else one
        key = str(near / files[1]) if len(files) > 1 and files[1] else None
        found.append((str(near / files[0]), key))
    return tuple(found)


def _docker_layout(directory: Path, name: str, server: Host, plain: bool) -> Host:
    authorities = sorted(str(file) for file in directory.glob("*.crt"))
    pairs = [
        (str(file), str(file.with_suffix(".key")))
        for file in sorted(directory.glob("*.cert"))
    ]
    if not authorities and not pairs:
        return server
    return Host(
        url=server.url if plain else f"https://{_server_name(name)}/v2",
        name=server.name,
        ca=tuple(authorities),
        client=tuple(pairs),
    )


def _url(text: str, override_path: bool, what: str) -> str:
    address = text if "://" in text else f"https://{text}"
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
        raise InvalidArgument(
            f'{what}: "{text}" must be http:// or https:// and a host: invalid argument'
        )
    path = parts.path.rstrip("/")
    if not override_path and not path.endswith("/v2"):
        path += "/v2"
    return f"{parts.scheme}://{parts.netloc}{path}"


def _seconds(value: str | float | None, file: Path) -> float | None:
    if value is None or not isinstance(value, str):
        return value
    for unit, factor in (("ms", 0.001), ("s", 1.0), ("m", 60.0)):
        number = value.removesuffix(unit)
        if number != value and number.replace(".", "", 1).isdigit():
            return float(number) * factor
    raise InvalidArgument(
        f'{file}: dial_timeout "{value}" must be like "5s" or "500ms": invalid argument'
    )


def _unreadable(name: str, what: str, file: str, error: OSError) -> InvalidArgument:
    reason = error.strerror or str(error)
    return InvalidArgument(
        f"{name}: {what} {file} cannot be used: {reason}: invalid argument"
    )
