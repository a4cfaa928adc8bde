# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What travels beside a call is seen by all that runs on its behalf, and no other."""

from __future__ import annotations

import contextvars

import pytest
import trio

from pluggd.errors import FailedPrecondition, InvalidArgument
from pluggd.services.call import (
    NO_CALL,
    Call,
    Peer,
    current_call,
    lease,
    namespace,
    using,
)


def test_without_a_call_there_is_no_namespace_and_no_lease() -> None:
    assert current_call.get() is NO_CALL
    assert lease() == ""
    with pytest.raises(FailedPrecondition) as caught:
        namespace()
    assert str(caught.value) == "namespace is required: failed precondition"


def test_a_block_has_another_namespace_and_lease() -> None:
    with using(namespace="blue", lease="l"):
        assert (namespace(), lease()) == ("blue", "l")
    assert current_call.get() is NO_CALL


def test_what_is_not_named_stays_as_it_is() -> None:
    peer = Peer(uid=1, gid=2, pid=3)
    token = current_call.set(
        Call(namespace="blue", lease="l", peer=peer, request="r7", traceparent="t")
    )
    try:
        with using(namespace="red"):
            assert current_call.get() == Call(
                namespace="red", lease="l", peer=peer, request="r7", traceparent="t"
            )
        with using(lease=""):
            assert (namespace(), lease()) == ("blue", "")
        with using():
            assert (namespace(), lease()) == ("blue", "l")
    finally:
        current_call.reset(token)


def test_a_block_that_raises_is_left_all_the_same() -> None:
    with pytest.raises(KeyError), using(namespace="blue"):
        raise KeyError
    assert current_call.get() is NO_CALL


@pytest.mark.parametrize("name", ["bad ns!", "-a", "a" * 77])
def test_a_name_that_is_none_is_told_when_it_is_needed(name: str) -> None:
    with (
        using(namespace=name),
        pytest.raises(InvalidArgument, match=r"^namespace validation: identifier "),
    ):
        namespace()


async def test_tasks_and_threads_of_a_call_see_it() -> None:
    seen: list[str] = []

    async def task() -> None:
        seen.append(namespace())
        with using(namespace="red"):
            seen.append(await trio.to_thread.run_sync(namespace))

    with trio.fail_after(5), using(namespace="blue"):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(task)
        assert namespace() == "blue"
    assert seen == ["blue", "red"]


def test_another_context_does_not_see_it() -> None:
    elsewhere = contextvars.copy_context()
    with using(namespace="blue"):
        assert elsewhere.run(lambda: current_call.get().namespace) == ""
