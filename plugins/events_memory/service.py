# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""`events.v1` for callers: what is published is there at once, and not after a restart."""

from __future__ import annotations

from pluggd.exchange.reading import EventReader, validate_envelope
from pluggd.model.topics import validate_topic
from pluggd.model.types import Any
from pluggd.objects.joined import joined_transaction
from pluggd.plugin import inline
from pluggd.services import call
from pluggd.services.envelope import Envelope

from .ring import Ring, made


class MemoryEvents(EventReader):
    """The `Events` over a ring in memory.

    Published inside a transaction, an event goes with it as a store's does: it comes
    with the commit or not at all, and its number is not known before, so 0 is returned.
    """

    def __init__(self, ring: Ring) -> None:
        super().__init__(ring)
        self._ring = ring

    @inline
    def publish(self, *, topic: str, event: Any) -> int:
        namespace = call.namespace()
        validate_topic(topic)
        transaction = joined_transaction()
        if transaction is None:
            return self._ring.publish(made(namespace, topic, event))
        transaction.emit(namespace, topic, event.type_url, event.value)
        return 0

    @inline
    def forward(self, *, envelope: Envelope) -> int:
        validate_envelope(envelope)
        transaction = joined_transaction()
        if transaction is None:
            return self._ring.publish(envelope)
        transaction.append_event(
            timestamp=envelope.timestamp,
            namespace=envelope.namespace,
            topic=envelope.topic,
            type_url=envelope.event.type_url,
            value=envelope.event.value,
        )
        return 0
