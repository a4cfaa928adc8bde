# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The writer thread and the group commit, on each engine."""

from __future__ import annotations

import contextvars
import threading
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing

from pluggd.errors import Internal, ResourceExhausted, Unavailable
from pluggd.objects.kv import KV
from tests.metastore.stores import ENGINES, OPENED, Gate, Opened, fill


@pytest.fixture(params=ENGINES)
def opened(request: pytest.FixtureRequest) -> Opened:
    return OPENED[request.param]


async def test_an_update_returns_its_value_and_is_there(
    tmp_path: Path, opened: Opened
) -> None:
    async with opened(tmp_path) as store:

        def change(kv: KV) -> int:
            kv.put("t", b"a", b"1")
            return 7

        assert await store.update(change) == 7
        assert store.get(b"a") == b"1"
    async with opened(tmp_path) as again:
        assert again.get(b"a") == b"1"


async def test_an_error_reaches_its_caller_unchanged_and_undoes_its_update(
    tmp_path: Path, opened: Opened
) -> None:
    error = KeyError("mine")
    async with opened(tmp_path) as store:

        def change(kv: KV) -> None:
            kv.put("t", b"a", b"1")
            raise error

        with pytest.raises(KeyError) as caught:
            await store.update(change)
        assert caught.value is error
        assert store.get(b"a") is None
        assert store.group.figures.commits == 0


async def test_what_waits_together_is_committed_once_and_each_has_its_own_fate(
    tmp_path: Path, opened: Opened
) -> None:
    failed: list[int] = []

    async with opened(tmp_path) as store:
        gate = Gate(store)

        async def one(number: int) -> None:
            def change(kv: KV) -> None:
                kv.put("t", b"%d" % number, b"")
                if number % 3 == 0:
                    raise ValueError(number)

            try:
                await store.update(change)
            except ValueError:
                failed.append(number)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(gate)
            await gate.entered.wait()
            for number in range(30):
                nursery.start_soon(one, number)
            await trio.testing.wait_all_tasks_blocked()
            assert store.writer.pending()
            gate.open()
        assert sorted(failed) == list(range(0, 30, 3))
        for number in range(30):
            assert (store.get(b"%d" % number) is None) == (number % 3 == 0)
        assert store.group.figures.commits == 2
        assert store.group.figures.largest_batch == 20
        assert [len(changes) for changes in store.delivered] == [1, 20]
        assert not store.writer.pending()


async def test_updates_of_one_task_after_the_other_keep_their_order(
    tmp_path: Path, opened: Opened
) -> None:
    async with opened(tmp_path) as store:
        gate = Gate(store)
        order: list[int] = []

        def note(number: int, kv: KV) -> None:
            del kv
            order.append(number)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(gate)
            await gate.entered.wait()
            for number in range(20):
                nursery.start_soon(store.update, partial(note, number))
                await trio.testing.wait_all_tasks_blocked()
            gate.open()
        assert order == list(range(20))


async def test_commits_are_delivered_before_their_updates_return(
    tmp_path: Path, opened: Opened
) -> None:
    async with opened(tmp_path) as store:
        for count in range(1, 5):
            await store.put(b"a")
            assert len(store.delivered) == count


async def test_a_function_sees_the_context_of_its_caller(
    tmp_path: Path, opened: Opened
) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")
    async with opened(tmp_path) as store:
        seen: list[str] = []

        async def one(name: str) -> None:
            variable.set(name)
            await store.update(lambda _: seen.append(variable.get()))

        async with trio.open_nursery() as nursery:
            for name in "abcdef":
                nursery.start_soon(one, name)
        assert sorted(seen) == list("abcdef")


async def test_functions_run_in_the_trio_thread_and_long_ones_in_one_other(
    tmp_path: Path, opened: Opened
) -> None:
    async with opened(tmp_path) as store:

        async def thread(long: bool) -> int:
            found: int = await store.update(lambda _: threading.get_ident(), long=long)
            return found

        assert {await thread(False) for _ in range(5)} == {threading.get_ident()}
        others = {await thread(True) for _ in range(5)}
        assert len(others) == 1
        assert threading.get_ident() not in others


async def test_a_cancelled_update_that_has_not_begun_does_not_happen(
    tmp_path: Path, opened: Opened
) -> None:
    async with opened(tmp_path) as store:
        gate = Gate(store)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(gate)
            await gate.entered.wait()
            with trio.move_on_after(0) as scope:
                await store.put(b"a")
            assert scope.cancelled_caught
            gate.open()
        await store.put(b"b")
        assert store.get(b"a") is None
        assert not store.writer.pending()


async def test_an_update_cancelled_while_it_runs_still_happens(
    tmp_path: Path, opened: Opened
) -> None:
    async with opened(tmp_path) as store:
        released = threading.Event()
        entered = trio.Event()
        token = trio.lowlevel.current_trio_token()

        def change(kv: KV) -> None:
            kv.put("t", b"a", b"1")
            token.run_sync_soon(entered.set)
            released.wait(10)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(store.update, change, long=True))
            await entered.wait()
            nursery.cancel_scope.cancel()
        released.set()
        await store.put(b"b")
        assert store.get(b"a") == b"1"


async def test_a_wrong_key_fails_its_update_only(
    tmp_path: Path, opened: Opened
) -> None:
    async with opened(tmp_path) as store:
        with pytest.raises(store.engine.own_fault):
            await store.put(b"")
        await store.put(b"a", b"1")
        assert store.get(b"a") == b"1"


async def test_a_crash_of_the_thread_fails_every_waiter_and_all_to_come(
    tmp_path: Path, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(tmp_path) as store:
        gate = Gate(store)
        errors: list[BaseException] = []

        async def one(number: int) -> None:
            try:
                await store.put(b"%d" % number)
            except Internal as error:
                errors.append(error)

        def crash(*_: object) -> None:
            raise store.engine.errors("begin")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(gate)
            await gate.entered.wait()
            for number in range(5):
                nursery.start_soon(one, number)
            await trio.testing.wait_all_tasks_blocked()
            monkeypatch.setattr(store.engine, "begin_write", crash)
            gate.open()
        assert len(errors) == 5
        with pytest.raises(Internal, match="writer failed"):
            await store.writer.watch()
        with pytest.raises(Internal, match="writer failed"):
            await store.put(b"a")
        assert not store.writer.pending()


async def test_a_stop_finishes_what_waits_and_refuses_what_comes(
    tmp_path: Path, opened: Opened
) -> None:
    async with opened(tmp_path) as store:
        gate = Gate(store)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(gate)
            await gate.entered.wait()
            for number in range(5):
                nursery.start_soon(store.put, b"%d" % number, b"x")
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(store.writer.aclose)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(Unavailable, match="stopped"):
                await store.put(b"late")
            gate.open()
        for number in range(5):
            assert store.get(b"%d" % number) == b"x"


async def test_the_quota_refuses_growth_and_lets_reclaiming_updates_through(
    tmp_path: Path, opened: Opened
) -> None:
    async with opened(tmp_path, quota=1 << 20) as store:
        stored = await fill(store)
        with pytest.raises(ResourceExhausted, match=r"quota is full: \d+ .* 1048576"):
            await store.put(b"more", bytes(20_000))
        assert 64 < stored < 130
        assert store.engine.size() < 3 << 20  # that of SQLite counts its log
        for number in range(stored):
            await store.drop(b"%d" % number)
        await store.put(b"more", bytes(20_000))
        assert store.get(b"more") == bytes(20_000)


async def test_an_update_that_changes_nothing_costs_no_commit(
    tmp_path: Path, opened: Opened
) -> None:
    async with opened(tmp_path) as store:
        await store.put(b"a", b"1")
        commits = store.group.figures.commits
        assert await store.update(lambda kv: kv.get("t", b"a")) == b"1"
        assert store.group.figures.commits == commits


async def test_an_error_that_rests_on_a_change_waits_until_that_is_durable(
    tmp_path: Path, opened: Opened
) -> None:
    """Otherwise a crash could take back what somebody was told."""
    async with opened(tmp_path) as store:
        gate = Gate(store)
        seen: list[bytes | None] = []

        async def create() -> None:
            def change(kv: KV) -> None:
                if kv.get("t", b"a") is not None:
                    raise KeyError
                kv.put("t", b"a", b"1")

            try:
                await store.update(change)
            except KeyError:
                seen.append(store.get(b"a"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(gate)
            await gate.entered.wait()
            for _ in range(5):
                nursery.start_soon(create)
            await trio.testing.wait_all_tasks_blocked()
            gate.open()
        assert seen == [b"1"] * 4


async def test_a_long_update_comes_in_its_turn(tmp_path: Path, opened: Opened) -> None:
    async with opened(tmp_path) as store:
        gate = Gate(store)
        seen: list[bytes | None] = []

        def swap(value: bytes, kv: KV) -> None:
            seen.append(kv.get("t", b"a"))
            kv.put("t", b"a", value)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(gate)
            await gate.entered.wait()
            for number in range(9):
                update = partial(store.update, long=number % 3 == 1)
                nursery.start_soon(update, partial(swap, b"%d" % number))
                await trio.testing.wait_all_tasks_blocked()
            gate.open()
        assert seen == [None, *(b"%d" % number for number in range(8))]
