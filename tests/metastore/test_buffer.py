# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The buffer of a group against tables in memory, which have an undo of their own."""

from __future__ import annotations

import random
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pluggd.errors import FailedPrecondition
from pluggd.metastore.buffer import Buffer
from pluggd.metastore.engine import Engine
from pluggd.objects.kv import KV
from pluggd.testing.memory_kv import MemoryKV
from tests.metastore.stores import ENGINES, engine_of

on_each_engine = pytest.mark.parametrize("engine", ENGINES)
TABLES = ("s", "t")
KEYS = [bytes((a, b)) for a in b"abc" for b in b"0123"]


@contextmanager
def opened(name: str, path: Path) -> Generator[Engine]:
    engine = engine_of(name, path, TABLES)
    try:
        yield engine
    finally:
        engine.close()


def change(kv: KV, number: int, chance: random.Random) -> object:
    """One change or question, the same for the same `chance`; its answer."""
    table, key, other = chance.choice(TABLES), chance.choice(KEYS), chance.choice(KEYS)
    match chance.randrange(8):
        case 0 | 1 | 2:
            kv.put(table, key, b"%d" % number)
            return None
        case 3 | 4:
            return kv.delete(table, key)
        case 5:
            return kv.get(table, key)
        case 6:
            return kv.last(table)
        case _:
            return list(kv.seek(table, key, chance.choice([None, other])))


@on_each_engine
@pytest.mark.parametrize("seed", range(30))
def test_it_reads_undoes_and_applies_like_tables_in_memory(
    tmp_path: Path, engine: str, seed: int
) -> None:
    chance = random.Random(seed)
    model = MemoryKV()
    for table in TABLES:
        model.open_table(table)
    with opened(engine, tmp_path) as env:
        for _ in range(6):
            txn = env.begin_write()
            buffer = Buffer(env.writer(txn))
            for _ in range(chance.randrange(1, 8)):
                model.begin()
                for number in range(chance.randrange(12)):
                    state = chance.getstate()
                    wanted = change(model, number, chance)
                    chance.setstate(state)
                    assert change(buffer, number, chance) == wanted
                if chance.randrange(3) == 0:
                    model.roll_back()
                    buffer.undo()
                else:
                    buffer.keep()
            buffer.apply()
            txn.commit()
            read = env.begin_read()
            for table in TABLES:
                assert list(env.reader(read).seek(table, b"")) == list(
                    model.seek(table, b"")
                )
            read.abort()


@on_each_engine
def test_what_the_engine_would_refuse_is_refused_at_once(
    tmp_path: Path, engine: str
) -> None:
    with opened(engine, tmp_path) as env:
        txn = env.begin_write()
        buffer = Buffer(env.writer(txn))
        for key in (b"", b"x" * 512):
            with pytest.raises(env.own_fault):
                buffer.put("t", key, b"")
        with pytest.raises(FailedPrecondition, match="open_table"):
            buffer.put("unknown", b"a", b"")
        with pytest.raises(FailedPrecondition, match="open_table"):
            buffer.get("unknown", b"a")
        assert buffer.empty
        txn.abort()
