# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Kinds: what plugins provide and ask for."""

from __future__ import annotations

from typing import Generic, TypeVar

from pluggd.struct import Struct

T = TypeVar("T")


class Kind(Struct, Generic[T], frozen=True):
    """A named, versioned interface and the type that keeps it.

    `name` is dotted and ends in the version: `pluggd.images.v1`. A plugin's URI
    is `<kind>.<id>`. When `interface` declares methods with `@rpc`, the selected
    provider serves them as `<service>.<method>` (`images.v1.create`).

    served: whether clients may call them. False for a part of something else, which
    would be changed behind its back: then `@rpc` says how the daemon calls a process
    that provides the kind (`[proxy_plugins]`), and its own socket has none of it.
    """

    name: str
    interface: type[T]
    served: bool = True

    @property
    def service(self) -> str:
        """The name on the wire: the kind without its first part."""
        return self.name.partition(".")[2]

    def __str__(self) -> str:
        return self.name
