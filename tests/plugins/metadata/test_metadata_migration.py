# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Databases of older versions, written row by row as the programs of their time did."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from struct import pack

import lmdb
import pytest
import trio

from pluggd.errors import FailedPrecondition
from pluggd.metastore.schema import SCHEMA_TABLE, migrated
from pluggd.objects.tables import GRAPH, TABLES
from pluggd.services.metadata import FOREVER, Edge, Node, ResourceType, Transaction
from plugins.metadata.environment import Environment
from plugins.metadata.store import LmdbMetadata
from plugins.metadata_sqlite.database import Database

LOG = logging.LoggerAdapter(logging.getLogger("test"), {})

IMAGE, LEASE = Node("image", "n", "i"), Node("lease", "n", "l")
BLOB, CHILD, HELD = (Node("content", "n", name) for name in ("blob", "child", "held"))
EXPIRES = 4_000_000_000_000_000_000

EXISTS, FLAT = 1, 2


def number(value: int) -> bytes:
    return value.to_bytes(8, "big")


def edge(keeper: int, kind: int, kept: int) -> dict[str, dict[bytes, bytes]]:
    middle = bytes((kind,))
    return {
        "objects.edges_out": {number(keeper) + middle + number(kept): b""},
        "objects.edges_in": {number(kept) + middle + number(keeper): b""},
    }


def node(
    id_: int, node: Node, flags: int, root_until: int
) -> dict[str, dict[bytes, bytes]]:
    key = "\0".join(node).encode()
    return {
        "objects.node_ids": {key: number(id_)},
        "objects.nodes": {number(id_): pack(">Bq", flags, root_until) + key},
    }


VERSION_1 = (
    # An image keeps a blob, which keeps another one; a flat lease holds a third, of
    # which there is no object yet, and expires.
    node(1, IMAGE, EXISTS, FOREVER),
    node(2, BLOB, EXISTS, 0),
    node(3, CHILD, EXISTS, 0),
    node(4, LEASE, EXISTS | FLAT, EXPIRES),
    node(5, HELD, 0, 0),
    edge(1, 0, 2),
    edge(2, 0, 3),
    edge(4, 4, 5),
    {
        "objects.state": {
            b"node_id": number(9),
            b"generation": number(3),
            b"last_event": number(41),
            b"watched": b"",
        },
        "objects.gained": {number(2): b""},
        "objects.expiry": {number(EXPIRES) + number(4): b""},
        "objects.candidates": {number(3) + number(3): b""},
        "objects.sequences": {b"n\0ingest": number(7)},
        "objects.events": {},
        "namespaces": {},
        "schema": {b"version": b"1"},
    },
)


def write_version_1(path: Path, *, without: str = "") -> None:
    path.mkdir()
    with (
        lmdb.open(str(path), map_size=1 << 24, max_dbs=20, lib_version=0) as file,
        file.begin(write=True) as txn,
    ):
        for rows in VERSION_1:
            for table, pairs in rows.items():
                if table != without:
                    database = file.open_db(table.encode(), txn=txn)
                    for key, value in pairs.items():
                        txn.put(key, value, db=database)


@asynccontextmanager
async def opened(path: Path, migrations: int) -> AsyncGenerator[LmdbMetadata]:
    environment = Environment(path, 1 << 24)
    assert environment.prepare(TABLES) == migrations
    store = LmdbMetadata(environment, LOG)
    with trio.fail_after(20):
        try:
            store.register(ResourceType("content", "blobs", lambda txn, node: None))
            yield store
        finally:
            await store.aclose()


@pytest.mark.parametrize("migrations", [2, 0])
async def test_version_1_means_afterwards_what_it_meant(
    tmp_path: Path, migrations: int
) -> None:
    path = tmp_path / "db"
    write_version_1(path)
    if not migrations:
        async with opened(path, 2):
            pass
    assert migrated(2).endswith("from schema version 1 to 3")
    async with opened(path, migrations) as store:
        everything = await store.view(lambda view: list(view.nodes("", "n")))
        assert everything == [BLOB, CHILD, IMAGE, LEASE]
        assert await store.view(lambda view: view.edges(IMAGE)) == [Edge(BLOB)]
        assert await store.view(lambda view: view.edges(BLOB)) == [Edge(CHILD)]
        assert await store.view(lambda view: view.edges(LEASE)) == [Edge(HELD)]
        assert await store.view(lambda view: view.event_bounds()) == (42, 41)
        assert store.next_expiry() == EXPIRES
        assert await store.update(lambda txn: txn.sequence("n", "ingest")) == 8
        assert (await store.statistics()).candidates == 1
        assert (await store.collect(full=True)).removed == {}
        await store.update(lambda txn: txn.drop_node(IMAGE))
        assert (await store.collect()).removed == {"content": 2}


async def test_ids_go_on_after_a_migration(tmp_path: Path) -> None:
    path = tmp_path / "db"
    write_version_1(path)
    new = Node("content", "n", "new")

    def change(txn: Transaction) -> None:
        txn.set_node(new, root_until=FOREVER)

    async with opened(path, 2) as store:
        await store.update(change)
        assert await store.view(lambda view: view.graph.id_of(new)) == number(10)


async def test_a_migration_leaves_nothing_in_the_old_tables(tmp_path: Path) -> None:
    path = tmp_path / "db"
    write_version_1(path)
    async with opened(path, 2):
        pass
    with (
        lmdb.open(str(path), max_dbs=20, lib_version=0, readonly=True) as file,
        file.begin() as txn,
    ):
        entries = {
            name.decode(): txn.stat(file.open_db(name, txn=txn))["entries"]
            for name in file.dbs(txn)
        }
    assert {name for name, count in entries.items() if count} == {
        "objects.graph",
        "objects.candidates",
        SCHEMA_TABLE,
    }


async def test_version_1_may_lack_a_table_that_came_late(tmp_path: Path) -> None:
    path = tmp_path / "db"
    write_version_1(path, without="objects.gained")
    async with opened(path, 2) as store:
        assert (await store.collect(full=True)).removed == {}


def test_version_1_is_gathered_in_sqlite_as_well(tmp_path: Path) -> None:
    old = Database(tmp_path / "sqlite")
    old.prepare(
        [table for rows in VERSION_1 for table in rows if table != "schema"], []
    )
    txn = old.begin_write()
    for rows in VERSION_1:
        for table, pairs in rows.items():
            for key, value in pairs.items():
                old.writer(txn).put(table, key, value)
    txn.commit()
    old.close()
    new = Database(tmp_path / "sqlite")
    try:
        assert new.prepare(TABLES) == 2
        in_sqlite = new.begin_read()
        gathered = list(new.reader(in_sqlite).seek(GRAPH, b""))
        in_sqlite.abort()
    finally:
        new.close()
    write_version_1(tmp_path / "db")
    environment = Environment(tmp_path / "db", 1 << 24)
    try:
        assert environment.prepare(TABLES) == 2
        in_lmdb = environment.begin_read()
        assert list(environment.reader(in_lmdb).seek(GRAPH, b"")) == gathered
        in_lmdb.abort()
    finally:
        environment.close()


def test_an_unknown_form_is_refused_and_nothing_changes(tmp_path: Path) -> None:
    path = tmp_path / "db"
    write_version_1(path)
    with (
        lmdb.open(str(path), max_dbs=20, lib_version=0) as file,
        file.begin(write=True) as txn,
    ):
        database = file.open_db(SCHEMA_TABLE.encode(), txn=txn)
        txn.put(b"version", b"9", db=database)
    environment = Environment(path, 1 << 24)
    try:
        with pytest.raises(FailedPrecondition, match="has version 9, this program"):
            environment.prepare(TABLES)
    finally:
        environment.close()
