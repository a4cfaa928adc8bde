# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Notes in the metadata store: durable, in one transaction with what they depend on."""

from __future__ import annotations

from pluggd.errors import InvalidArgument, NotFound
from pluggd.model.record import Encoded, decode, encode, replace
from pluggd.plugin import inline, inline_encoded
from pluggd.services import call
from pluggd.services.events import EventItem
from pluggd.services.images import Images
from pluggd.services.metadata import Metadata, Transaction, View

from .service import Note, Notes

TABLE = "example_notes"


class NoteStore:
    def __init__(self, metadata: Metadata, images: Images, max_length: int) -> None:
        self._metadata = metadata
        self._images = images
        self._max_length = max_length

    async def put(self, *, note: Note) -> Note:
        namespace = call.namespace()
        if not 0 < len(note.text) <= self._max_length:
            raise InvalidArgument(
                f"text must have 1 to {self._max_length} characters, "
                f"got {len(note.text)}: invalid argument"
            )

        def write(txn: Transaction) -> Note:
            # In this transaction, too: the image cannot go in between.
            txn.run(self._images.get(name=note.image))
            written = replace(note, written_at=txn.now)
            txn.put(TABLE, namespace, note.image, encode(written))
            txn.emit(namespace, "/notes/write", "example.Note", {"image": note.image})
            return written

        return await self._metadata.update(write)

    @inline_encoded
    def get(self, *, image: str) -> Encoded[Note]:
        namespace = call.namespace()
        found = self._metadata.read(lambda view: view.get(TABLE, namespace, image))
        if found is None:
            raise NotFound(f'note on image "{image}": not found')
        return Encoded(found, Note)

    @inline
    def list(self) -> Notes:
        namespace = call.namespace()

        def scan(view: View) -> Notes:
            found = view.scan(TABLE, namespace)
            return Notes(notes=[decode(record, Note) for _, record in found])

        return self._metadata.read(scan)

    async def send(self, value: Encoded[EventItem], /) -> None:
        """An image was deleted: drop the note on it.

        Events may come twice (after a restart, all that the log has come again), so
        a note that is younger than the event belongs to a new image and stays.
        """
        envelope = value.value.envelope
        if envelope is None:
            return
        namespace, name = envelope.namespace, envelope.event.value["name"]

        def forget(txn: Transaction) -> None:
            found = txn.get(TABLE, namespace, name)
            if found and decode(found, Note).written_at < envelope.timestamp:
                txn.delete(TABLE, namespace, name)
                txn.emit(namespace, "/notes/delete", "example.Note", {"image": name})

        await self._metadata.update(forget)
