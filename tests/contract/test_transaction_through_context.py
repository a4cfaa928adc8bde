# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Several stores change in one transaction of a caller, or none does."""

from __future__ import annotations

import pytest

from pluggd.errors import AlreadyExists, NotFound
from pluggd.services import call
from pluggd.services.metadata import Transaction
from pluggd.services.namespaces import Namespace
from pluggd.testing.conformance.containers import container
from pluggd.testing.conformance.images import image
from tests.contract.stand import Stand


class Regret(Exception):
    """Raised by the tests' own transactions."""


def put_both(stores: Stand, txn: Transaction) -> None:
    txn.run(stores.images.create(image=image()))
    txn.run(stores.containers.create(container=container()))
    txn.run(stores.leases.create(id="l"))
    txn.run(stores.namespaces.update(namespace=Namespace(name="ns", labels={"a": "1"})))


async def test_an_outer_transaction_commits_all_stores_at_once(stores: Stand) -> None:
    with call.using(namespace="ns"):
        await stores.metadata.update(lambda txn: put_both(stores, txn))
        assert (await stores.images.get(name="a")).created_at == (
            await stores.containers.get(id="c")
        ).created_at
        await stores.leases.get(id="l")
    assert (await stores.namespaces.get(name="ns")).labels == {"a": "1"}
    topics = [topic for _, topic, _, _ in stores.events()]
    assert topics == ["/images/create", "/containers/create", "/namespaces/update"]


async def test_an_outer_transaction_rolls_all_stores_back(stores: Stand) -> None:
    def change(txn: Transaction) -> None:
        put_both(stores, txn)
        assert txn.run(stores.images.get(name="a")).name == "a"  # sees its own writes
        assert len(txn.run(stores.containers.list()).containers) == 1
        raise Regret

    with call.using(namespace="ns"):
        with pytest.raises(Regret):
            await stores.metadata.update(change)
        assert (await stores.images.list()).images == []
        assert (await stores.containers.list()).containers == []
        assert (await stores.leases.list()).leases == []
    with pytest.raises(NotFound):
        await stores.namespaces.get(name="ns")
    assert stores.events() == []


async def test_an_error_of_one_store_undoes_the_others(stores: Stand) -> None:
    def change(txn: Transaction) -> None:
        txn.run(stores.containers.create(container=container()))
        txn.run(stores.images.create(image=image()))

    with call.using(namespace="ns"):
        await stores.images.create(image=image())
        with pytest.raises(AlreadyExists, match=r'^image "a": already exists$'):
            await stores.metadata.update(change)
        assert (await stores.containers.list()).containers == []


async def test_a_caller_may_move_a_name_between_stores_of_two_namespaces(
    stores: Stand,
) -> None:
    def change(txn: Transaction) -> None:
        with call.using(namespace="one"):
            found = txn.run(stores.images.get(name="a"))
            txn.run(stores.images.delete(name="a"))
        with call.using(namespace="two"):
            txn.run(stores.images.create(image=found))

    with call.using(namespace="one"):
        await stores.images.create(image=image(k="v"))
    await stores.metadata.update(change)
    with call.using(namespace="two"):
        assert (await stores.images.get(name="a")).labels == {"k": "v"}
    with call.using(namespace="one"):
        assert (await stores.images.list()).images == []


async def test_a_synchronous_delete_cannot_wait_inside_a_transaction(
    stores: Stand,
) -> None:
    with call.using(namespace="ns"):
        await stores.images.create(image=image())
        with pytest.raises(RuntimeError):
            await stores.metadata.update(
                lambda txn: txn.run(stores.images.delete(name="a", sync=True))
            )
        await stores.images.get(name="a")
