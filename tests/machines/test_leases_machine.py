# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The lease manager against sets: what leases hold stays, and nothing else does.

The held things are blobs that refer to greater blobs (so there are no cycles and each
collection is exact); they stand for what other plugins store.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from pluggd.errors import AlreadyExists, NotFound
from pluggd.services.leases import Resource
from pluggd.services.metadata import CONTENT, Edge, Node, ResourceType, Transaction
from tests.contract.stand import Stand
from tests.machines.driver import Driver

NS = "ns"
TABLE = "blobs"
EXPIRE = "containerd.io/gc.expire"
FLAT = "containerd.io/gc.flat"
DIGESTS = [f"sha256:{letter * 64}" for letter in "abcdef"]

ids = st.sampled_from(["l1", "l2", "l3"])
digests = st.sampled_from(DIGESTS)


@dataclass
class Known:
    flat: bool
    expired: bool
    held: set[str] = field(default_factory=set[str])


class LeasesMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.driver = Driver()
        self.leases: dict[str, Known] = {}
        self.blobs: dict[str, set[str]] = {}

    def teardown(self) -> None:
        self.driver.close()

    @initialize()
    def register_blobs(self) -> None:
        def collect(txn: Transaction, node: Node) -> None:
            txn.delete(TABLE, node.namespace, node.name)

        async def register(stores: Stand) -> None:
            await stores.metadata.open_table(TABLE)
            stores.metadata.register(ResourceType(CONTENT, "blobs", collect=collect))

        self.driver.call(register)

    @rule(id=ids, flat=st.booleans(), expired=st.booleans())
    def create(self, id: str, flat: bool, expired: bool) -> None:
        labels = {FLAT: "1"} if flat else {}
        if expired:
            labels[EXPIRE] = "2001-01-01T00:00:00Z"
        try:
            made = self.driver.call(
                lambda stores: stores.leases.create(id=id, labels=labels), NS
            )
        except AlreadyExists:
            assert id in self.leases
        else:
            assert id not in self.leases
            assert made.labels == labels
            self.leases[id] = Known(flat, expired)

    @rule(id=ids)
    def delete(self, id: str) -> None:
        try:
            self.driver.call(lambda stores: stores.leases.delete(id=id), NS)
        except NotFound:
            assert id not in self.leases
        else:
            del self.leases[id]

    @rule(id=ids, digest=digests)
    def add_resource(self, id: str, digest: str) -> None:
        resource = Resource(type="content", id=digest)
        try:
            self.driver.call(
                lambda stores: stores.leases.add_resource(id=id, resource=resource), NS
            )
        except NotFound:
            assert id not in self.leases
        else:
            self.leases[id].held.add(digest)

    @rule(id=ids, digest=digests)
    def delete_resource(self, id: str, digest: str) -> None:
        resource = Resource(type="content", id=digest)
        try:
            self.driver.call(
                lambda stores: stores.leases.delete_resource(id=id, resource=resource),
                NS,
            )
        except NotFound:
            assert id not in self.leases
        else:
            self.leases[id].held.discard(digest)

    @rule(
        digest=digests,
        refers=st.sets(digests, max_size=3),
        lease=st.one_of(st.just(""), ids),
    )
    def put_blob(self, digest: str, refers: set[str], lease: str) -> None:
        """What a store does in a call that names a lease, or none."""
        refers = {one for one in refers if one > digest}
        node = Node(CONTENT, NS, digest)

        def change(txn: Transaction) -> None:
            txn.put(TABLE, NS, digest, b"\xc0")
            txn.set_node(node, [Edge(Node(CONTENT, NS, one)) for one in refers])
            txn.hold(node)

        if lease and lease not in self.leases:
            with pytest.raises(NotFound, match=r"^lease does not exist: not found$"):
                self.driver.call(
                    lambda stores: stores.metadata.update(change), NS, lease
                )
            return
        self.driver.call(lambda stores: stores.metadata.update(change), NS, lease)
        self.blobs[digest] = refers
        if lease:
            self.leases[lease].held.add(digest)

    @rule(full=st.booleans())
    def collect(self, full: bool) -> None:
        stats = self.driver.call(lambda stores: stores.metadata.collect(full=full))
        kept = self.reachable()
        removed = {(one.type, one.name) for one in stats.objects}
        assert removed == {
            *(("lease", name) for name, known in self.leases.items() if known.expired),
            *(("content", digest) for digest in self.blobs if digest not in kept),
        }
        self.leases = {
            name: known for name, known in self.leases.items() if not known.expired
        }
        self.blobs = {
            digest: refers for digest, refers in self.blobs.items() if digest in kept
        }

    def reachable(self) -> set[str]:
        """The blobs that leases hold, and what those refer to unless it is flat."""
        kept: set[str] = set()
        deep: set[str] = set()
        for known in self.leases.values():
            if known.expired:
                continue
            kept |= known.held & set(self.blobs)
            todo = [] if known.flat else list(known.held)
            while todo:
                digest = todo.pop()
                if digest in self.blobs and digest not in deep:
                    deep.add(digest)
                    todo += self.blobs[digest]
        return kept | deep

    @invariant()
    def the_manager_lists_what_is_known(self) -> None:
        page = self.driver.call(lambda stores: stores.leases.list(), NS)
        assert [one.id for one in page.leases] == sorted(self.leases)
        for name, known in self.leases.items():
            assert self.resources(name) == sorted(known.held)

    def resources(self, id: str) -> list[str]:
        listed = self.driver.call(
            lambda stores: stores.leases.list_resources(id=id), NS
        )
        return [one.id for one in listed.resources]

    @invariant()
    def the_blobs_are_those_that_are_known(self) -> None:
        async def present(stores: Stand) -> list[str]:
            if not self.blobs:
                return []
            return stores.metadata.read(
                lambda view: [name for name, _ in view.scan(TABLE, NS)]
            )

        assert self.driver.call(present) == sorted(self.blobs)


LeasesMachine.TestCase.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None
)
TestLeases = LeasesMachine.TestCase
