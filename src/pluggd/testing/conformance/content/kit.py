# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What the rules of content are tried with."""

from __future__ import annotations

import hashlib
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from pluggd.errors import (
    PluggdError,
)
from pluggd.model.record import decode
from pluggd.services.call import using
from pluggd.services.content import Content, Info
from pluggd.services.envelope import Envelope
from pluggd.services.metadata import (
    FOREVER,
    LEASE,
    Metadata,
    Node,
)


@dataclass
class ContentStand:
    """A provider and the metadata store that it works on."""

    content: Content
    metadata: Metadata

    async def lease(self, name: str, namespace: str = "one") -> None:
        node = Node(LEASE, namespace, name)
        await self.metadata.update(lambda txn: txn.set_node(node, root_until=FOREVER))

    async def end_lease(self, name: str, namespace: str = "one") -> None:
        await self.metadata.update(
            lambda txn: txn.drop_node(Node(LEASE, namespace, name))
        )

    def held(self, name: str, namespace: str = "one") -> list[Node]:
        return self.metadata.read(
            lambda view: [
                edge.target for edge in view.edges(Node(LEASE, namespace, name))
            ]
        )

    def events(self) -> list[tuple[str, str]]:
        """Namespace and topic of all events."""
        found = self.metadata.read(lambda view: list(view.events(0)))
        envelopes = [decode(data, Envelope) for _, data in found]
        return [(envelope.namespace, envelope.topic) for envelope in envelopes]

    async def keep(self, digest: str, namespace: str = "one") -> None:
        """Make a blob a root, so that collections leave it alone."""
        with using(namespace=namespace):
            await self.content.update(
                info=Info(digest=digest, labels={"containerd.io/gc.root": "yes"}),
                fields=["labels.containerd.io/gc.root"],
            )


def digest_of(data: bytes, algorithm: str = "sha256") -> str:
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


async def put(stand: ContentStand, data: bytes, namespace: str = "one") -> str:
    with using(namespace=namespace):
        result = await stand.content.write(ref="put", action="commit", data=data)
    return result.digest


@contextmanager
def refused(kind: type[PluggdError], text: str) -> Generator[None]:
    """The block raises exactly this class, with this text somewhere in the message."""
    with pytest.raises(PluggdError) as caught:
        yield
    assert type(caught.value) is kind or isinstance(caught.value, kind)
    assert text in str(caught.value)
