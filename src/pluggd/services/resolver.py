# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Resolvers: from the name of an image to its bytes at a registry, and back.

In process only. A resolver knows the protocol of registries: mirrors, logins,
redirects, retries. What of an image is fetched, where it is kept and what keeps it is
for those who use one (`pluggd.transfer.v1`).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from pluggd.model.record import Record
from pluggd.model.types import Descriptor
from pluggd.services.kind import Kind


class Access(Record, frozen=True):
    """What the caller of one transfer says about the way to the registry.

    plain_http: talk HTTP to the registry itself, not only to localhost. username,
    password: used instead of what the daemon knows; without a username, the password
    is an identity token. hosts_dir: a directory of hosts.toml files in place of the
    configured one, an absolute path of the daemon's. Its text form shows no secret.
    """

    plain_http: bool = False
    username: str = ""
    password: str = ""
    hosts_dir: str = ""

    def __repr__(self) -> str:
        return f"Access(username={self.username!r}, hosts_dir={self.hosts_dir!r}, ...)"

    __str__ = __repr__


NO_ACCESS = Access()
"""Nothing is said: the daemon's own configuration and credentials count."""


class Remote(Protocol):
    """One image at its registry, while the block of `Resolver.open` runs.

    All methods raise Unauthenticated, PermissionDenied, Unavailable (after retries),
    and DataLoss when the registry does not send what it says or was asked for.
    """

    @property
    def source(self) -> tuple[str, str]:
        """Host without port, and path: what the label of a blob's origin says."""
        ...

    async def resolve(self) -> Descriptor:
        """What the name stands for now.

        Raises NotFound; NotImplemented_ for schema 1; ResourceExhausted for a manifest
        over the resolver's limit.
        """
        ...

    async def manifest(self, descriptor: Descriptor) -> bytes:
        """The bytes of a manifest or index; they have the size and the digest that the
        descriptor says. Raises NotFound, ResourceExhausted."""
        ...

    def blob(
        self, descriptor: Descriptor, offset: int = 0, *, urls: Sequence[str] = ()
    ) -> AsyncGenerator[bytes]:
        """The bytes from `offset` to the end, exactly so many as the descriptor says,
        in pieces of about a mebibyte; to be closed when not taken to the end.

        urls: where it is as well, by its manifest; asked without credentials, and only
        when the registry does not have it. Goes on after a broken connection. The
        digest is for the caller to check. Raises NotFound.
        """
        ...

    async def push_blob(
        self,
        descriptor: Descriptor,
        read: Callable[[], AsyncIterator[bytes]],
        *,
        mount_from: Sequence[str] = (),
    ) -> bool:
        """Upload a blob that the registry has not; whether any byte was sent.

        read: begins again at the first byte with every call. mount_from: paths of the
        same registry that may have it.
        """
        ...

    async def push_manifest(
        self, descriptor: Descriptor, data: bytes, *, tagged: bool = False
    ) -> bool:
        """Upload a manifest or index whose parts are there; whether it was not there.

        tagged: under the tag of the name, and not by its digest alone.
        """
        ...


class Resolver(Protocol):
    """Talks to registries."""

    def open(
        self, name: str, access: Access = NO_ACCESS, *, push: bool = False
    ) -> AbstractAsyncContextManager[Remote]:
        """The image of this full name at its registry, or at a mirror of it.

        How to get there is read anew, from files. push: it will be written to.
        Raises InvalidArgument (name, hosts.toml), and no error of the network.
        """
        ...


RESOLVER = Kind("pluggd.resolver.v1", Resolver)
