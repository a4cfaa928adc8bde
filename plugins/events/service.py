# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""`events.v1` for callers: what is published goes into the log."""

from __future__ import annotations

from pluggd.exchange.reading import EventReader, validate_envelope
from pluggd.model.topics import validate_topic
from pluggd.model.types import Any
from pluggd.objects.joined import joined_transaction
from pluggd.plugin import Deferred, deferred
from pluggd.services import call
from pluggd.services.envelope import Envelope

from .appending import Append, Appender
from .exchange import Exchange


class EventService(EventReader):
    """The `Events` over the log of the metadata store."""

    def __init__(self, appender: Appender, exchange: Exchange) -> None:
        super().__init__(exchange)
        self._appender = appender

    @deferred
    def publish(self, *, topic: str, event: Any) -> Deferred[int]:
        namespace = call.namespace()
        validate_topic(topic)
        return self._append(Append(namespace, topic, event.type_url, event.value))

    @deferred
    def forward(self, *, envelope: Envelope) -> Deferred[int]:
        validate_envelope(envelope)
        event = envelope.event
        return self._append(
            Append(
                envelope.namespace,
                envelope.topic,
                event.type_url,
                event.value,
                envelope.timestamp,
            )
        )

    def _append(self, event: Append) -> Deferred[int]:
        transaction = joined_transaction()
        if transaction is None:
            self._appender.add(event)
        else:
            event.succeed(event.run(transaction))
        return event
