# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What namespaces have and what is being ingested: everything that happens in a transaction.

Each function takes the view or transaction that it works in and is synchronous.
Nothing here touches a file. The bytes of a blob are counted by references (one per
namespace that has it, one per shared ingest); with the last one goes the file record,
and, in the same transaction, the bytes of a small blob; for one with a file a trash
record says what is to be removed from the disk.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from pluggd.contents.records import (
    BLOBS,
    FILES,
    INGEST_TRASH,
    INGESTS,
    TRASH,
    FileRecord,
    IngestRecord,
    TrashRecord,
)
from pluggd.errors import NotFound, OutOfRange
from pluggd.model.events import ContentCreate, ContentDelete
from pluggd.model.labels import without_empty
from pluggd.model.record import decode, encode, replace
from pluggd.model.references import is_root, references
from pluggd.services.call import lease
from pluggd.services.content import Info
from pluggd.services.metadata import (
    CONTENT,
    FOREVER,
    INGEST,
    NEVER,
    Edge,
    Node,
    Transaction,
    View,
)

Shareable = Callable[[Transaction, str], bool]
"""Whether others may adopt what this namespace has."""


def not_found(digest: str) -> NotFound:
    return NotFound(f"content digest {digest}: not found")


def find_blob(view: View, namespace: str, digest: str) -> Info | None:
    data = view.get(BLOBS, namespace, digest)
    return None if data is None else decode(data, Info)


def find_file(view: View, digest: str) -> FileRecord | None:
    data = view.get(FILES, "", digest)
    return None if data is None else decode(data, FileRecord)


def find_ingest(view: View, namespace: str, ref: str) -> IngestRecord | None:
    data = view.get(INGESTS, namespace, ref)
    return None if data is None else decode(data, IngestRecord)


def has_sound_blob(view: View, namespace: str, digest: str) -> bool:
    """Whether the namespace has the blob, and its bytes are not known to be bad."""
    if view.get(BLOBS, namespace, digest) is None:
        return False
    file = find_file(view, digest)
    return file is not None and not file.damaged


class Catalog:
    """The rules by which records change. Times in ns.

    freed: bytes of small blobs that went with their records, since somebody set it
    to 0.
    """

    def __init__(self, *, shareable: Shareable, ingest_expiry: int) -> None:
        self._shareable = shareable
        self._expiry = ingest_expiry
        self.freed = 0

    # --- blobs

    def put_blob(self, txn: Transaction, namespace: str, info: Info) -> None:
        """Store a blob's record and what its labels say about collection."""
        txn.put(BLOBS, namespace, info.digest, encode(info))
        txn.set_node(
            Node(CONTENT, namespace, info.digest),
            [
                Edge(
                    Node(reference.type, namespace, reference.key), back=reference.back
                )
                for reference in references(info.labels)
            ],
            root_until=FOREVER if is_root(info.labels) else NEVER,
        )

    def commit(
        self,
        txn: Transaction,
        *,
        namespace: str,
        ref: str,
        digest: str,
        size: int,
        labels: dict[str, str],
        fresh: bool,
        data: bytes | None = None,
    ) -> Info | None:
        """Record a blob whose bytes are in place, and that its ingest is over.

        fresh: the bytes were put there just now. data: the bytes of one that is to have
        no file; what others have put in place meanwhile stays. None: the namespace had
        it already, and it is on the caller's lease all the same.
        """
        ingest = find_ingest(txn, namespace, ref)
        stored = find_blob(txn, namespace, digest)
        file = find_file(txn, digest)
        if data is not None:
            fresh = file is None or file.damaged
        healed = file is not None and file.damaged and fresh
        if stored is None or healed or file is None:
            file = file or FileRecord(size=size)
            if data is None:
                txn.delete(TRASH, "", digest)
            elif fresh:
                file = replace(file, data=data)
            count = file.references + (stored is None)
            file = replace(file, references=count, damaged=file.damaged and not fresh)
            txn.put(FILES, "", digest, encode(file))
        if ingest is not None:
            # The blob takes its place. A commit must not call for the collection that
            # removes the blob, before anybody could refer to it.
            self.drop_ingest(txn, namespace, ingest, collect=False)
        info = stored if healed else None
        if stored is None:
            info = Info(
                digest=digest,
                size=size,
                created_at=txn.now,
                updated_at=txn.now,
                labels=without_empty(labels),
            )
            self.put_blob(txn, namespace, info)
            event = ContentCreate(digest=digest, size=size)
            txn.emit(namespace, event.TOPIC, event.TYPE, event)
        txn.hold(Node(CONTENT, namespace, digest))
        return info

    def delete(self, txn: Transaction, namespace: str, digest: str) -> None:
        """Remove a namespace's blob. Raises NotFound."""
        if not self.remove_blob(txn, namespace, digest):
            raise not_found(digest)
        node = Node(CONTENT, namespace, digest)
        txn.release(node)
        txn.drop_node(node)

    def remove_blob(self, txn: Transaction, namespace: str, digest: str) -> bool:
        """Remove the record and announce it; the node is the caller's."""
        if not txn.delete(BLOBS, namespace, digest):
            return False
        self._unreference(txn, digest)
        event = ContentDelete(digest=digest)
        txn.emit(namespace, event.TOPIC, event.TYPE, event)
        return True

    def mark_damaged(self, txn: Transaction, digest: str) -> None:
        file = find_file(txn, digest)
        if file is not None:
            txn.put(FILES, "", digest, encode(replace(file, damaged=True)))

    # --- ingests

    def begin(
        self,
        txn: Transaction,
        namespace: str,
        ref: str,
        *,
        total: int,
        expected: str,
        offset: int = 0,
        descriptor: bool = False,
        announced: bool = True,
        adopt: bool = True,
        started_at: int = 0,
    ) -> IngestRecord | None:
        """Begin or take up an ingest, under the lease of the call.

        None: the namespace has the expected blob; it is now on the lease and the
        ingest is gone. descriptor: a descriptor is about to be given away. announced:
        remember total and expected (a commit only checks them, and may be refused).
        adopt: share another namespace's blob if it can be. started_at: of a new one
        that began before it got a record.
        Raises OutOfRange for an offset into a new one.
        """
        stored = find_ingest(txn, namespace, ref)
        wanted = expected or (stored.expected if stored else "")
        if wanted and has_sound_blob(txn, namespace, wanted):
            if stored is not None:
                self.drop_ingest(txn, namespace, stored)
            txn.hold(Node(CONTENT, namespace, wanted))
            return None
        if stored is None:
            record = self._new(txn, namespace, ref, total, expected)
            record = replace(record, started_at=started_at or txn.now)
            if adopt and not descriptor:
                record = self._adopt(txn, record)
            if not announced and not record.shared:
                record = replace(record, total=0, expected="")
            if offset and not record.shared:
                raise OutOfRange(f"write @{offset} must occur at current offset 0")
        else:
            record = replace(stored, updated_at=txn.now)
            if announced:
                record = replace(record, total=total or stored.total, expected=wanted)
            moved = record.expected != stored.expected or (
                record.total not in (0, stored.size)
            )
            if stored.shared and (descriptor or moved):
                self._unreference(txn, stored.expected)
                record = replace(record, shared=False, size=0)
        record = replace(
            record,
            lease=lease(),
            root_until=NEVER if lease() else txn.now + self._expiry,
            descriptor=record.descriptor or descriptor,
        )
        self._put_ingest(txn, namespace, record)
        txn.hold(Node(INGEST, namespace, ref))
        return record

    def is_settled(
        self, view: View, record: IngestRecord, total: int, expected: str
    ) -> bool:
        """Whether `begin` would change nothing that matters."""
        return (
            total in (0, record.total)
            and expected in ("", record.expected)
            and record.lease == lease()
            and (
                record.root_until == NEVER
                or record.root_until - view.now > self._expiry * 23 // 24
            )
        )

    def unshare(self, txn: Transaction, namespace: str, ref: str) -> IngestRecord:
        """Make a shared ingest one with a file of its own. Raises NotFound."""
        stored = find_ingest(txn, namespace, ref)
        if stored is None:
            raise NotFound(f"reference {ref}: not found")
        if stored.shared:
            self._unreference(txn, stored.expected)
        record = replace(stored, shared=False, size=0, updated_at=txn.now)
        self._put_ingest(txn, namespace, record)
        return record

    def drop_ingest(
        self,
        txn: Transaction,
        namespace: str,
        record: IngestRecord,
        *,
        collect: bool = True,
    ) -> None:
        """Remove an ingest's record and node; its file is left to the caller."""
        node = Node(INGEST, namespace, record.ref)
        self._remove_ingest(txn, namespace, record)
        txn.drop_node(node, collect=collect)
        txn.release(node)

    def abort(self, txn: Transaction, namespace: str, ref: str) -> IngestRecord:
        """Raises NotFound."""
        record = find_ingest(txn, namespace, ref)
        if record is None:
            raise NotFound(f"reference {ref}: not found")
        self.drop_ingest(txn, namespace, record)
        return record

    # --- collection

    def collect_blob(self, txn: Transaction, node: Node) -> None:
        self.remove_blob(txn, node.namespace, node.name)

    def collect_ingest(self, txn: Transaction, node: Node) -> None:
        record = find_ingest(txn, node.namespace, node.name)
        if record is None:
            return
        self._remove_ingest(txn, node.namespace, record)
        if not record.shared:
            trash = TrashRecord(namespace=node.namespace, ref=node.name)
            txn.put(TRASH, "", INGEST_TRASH + record.file, encode(trash))

    # --- inside

    def _new(
        self, txn: Transaction, namespace: str, ref: str, total: int, expected: str
    ) -> IngestRecord:
        sequence = txn.sequence(namespace, "ingest")
        name = f"{namespace}/{sequence}/{ref}"
        return IngestRecord(
            ref=ref,
            sequence=sequence,
            file=hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest(),
            total=total,
            expected=expected,
            started_at=txn.now,
            updated_at=txn.now,
        )

    def _adopt(self, txn: Transaction, record: IngestRecord) -> IngestRecord:
        """The same ingest, shared when another namespace's blob can stand for it."""
        if not record.expected:
            return record
        file = find_file(txn, record.expected)
        if file is None or file.damaged or record.total not in (0, file.size):
            return record
        if not any(
            self._shareable(txn, namespace)
            for namespace in txn.scan_namespaces(BLOBS)
            if txn.get(BLOBS, namespace, record.expected) is not None
        ):
            return record
        file = replace(file, references=file.references + 1)
        txn.put(FILES, "", record.expected, encode(file))
        return replace(record, shared=True, size=file.size)

    def _put_ingest(
        self, txn: Transaction, namespace: str, record: IngestRecord
    ) -> None:
        txn.put(INGESTS, namespace, record.ref, encode(record))
        edges = (
            [Edge(Node(CONTENT, namespace, record.expected))] if record.expected else []
        )
        node = Node(INGEST, namespace, record.ref)
        txn.set_node(node, edges, root_until=record.root_until)

    def _remove_ingest(
        self, txn: Transaction, namespace: str, record: IngestRecord
    ) -> None:
        txn.delete(INGESTS, namespace, record.ref)
        if record.shared:
            self._unreference(txn, record.expected)

    def _unreference(self, txn: Transaction, digest: str) -> None:
        file = find_file(txn, digest)
        if file is None:
            return
        if file.references > 1:
            file = replace(file, references=file.references - 1)
            txn.put(FILES, "", digest, encode(file))
            return
        txn.delete(FILES, "", digest)
        if file.data is None:
            txn.put(TRASH, "", digest, encode(TrashRecord(size=file.size)))
        else:
            self.freed += len(file.data)
