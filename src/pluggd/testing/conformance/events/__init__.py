# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The rules of `pluggd.events.v1`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import pytest

from pluggd.services.events import Events
from pluggd.services.metadata import Metadata
from pluggd.testing.conformance.base import Conformance, missing
from pluggd.testing.conformance.events.gaps import Gaps
from pluggd.testing.conformance.events.kit import EventsStand
from pluggd.testing.conformance.events.polling import Polling
from pluggd.testing.conformance.events.publishing import Publishing
from pluggd.testing.conformance.events.subscribing import Subscribing

__all__ = ["EventsConformance", "EventsStand"]


class EventsConformance(Publishing, Subscribing, Gaps, Polling):
    """What every provider of `pluggd.events.v1` promises.

    Provide the fixture `events`: a service without events, over the fixture `metadata`
    when it keeps them there.
    """

    optional: ClassVar[Mapping[str, str]] = {
        **Conformance.optional,
        "metadata_log": "its log is that of the metadata store: what is emitted in a "
        "transaction comes through it, and what is trimmed there is a gap",
        "history": "past events can be asked for: `since`, `poll`, `bounds`",
    }

    @pytest.fixture
    def events(self) -> Events:
        """The provider, empty. Yours to override."""
        missing(type(self), "events")

    @pytest.fixture
    def stand(self, events: Events, metadata: Metadata) -> EventsStand:
        return EventsStand(events, metadata)
