# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""When the loop looks out for requests before it sleeps."""

from __future__ import annotations

from pluggd.core.linger import PATIENCE, Linger


class Loop:
    """Says what it is told to, and notes the looks of each sleep."""

    def __init__(self) -> None:
        self.ready = False
        self.busy = False
        self._looks = 0
        self._linger = Linger(self._look, lambda: self.busy)

    def _look(self) -> bool:
        self._looks += 1
        return self.ready

    def looks(self, timeout: float = 1.0) -> int:
        """Before a sleep."""
        self._looks = 0
        self._linger.before_io_wait(timeout)
        return self._looks


def test_it_looks_until_there_is_a_request() -> None:
    loop = Loop()
    loop.ready = True
    assert [loop.looks() for _ in range(3)] == [1, 1, 1]


def test_it_does_not_look_when_something_else_is_to_be_done() -> None:
    loop = Loop()
    assert loop.looks(timeout=0) == 0
    loop.busy = True
    assert loop.looks() == 0
    # Nor was that in vain.
    loop.busy = False
    assert loop.looks() > 1


def sleeps_without_a_look(loop: Loop) -> int:
    return next(count for count in range(1000) if loop.looks())


def test_in_vain_it_looks_ever_more_seldom() -> None:
    loop = Loop()
    assert loop.looks() > 1
    found = [sleeps_without_a_look(loop) for _ in range(PATIENCE + 2)]
    assert found == [2, 4, 8, 16, 32, 64, 64, 64]


def test_a_request_makes_it_look_again_each_time() -> None:
    loop = Loop()
    for _ in range(5):
        sleeps_without_a_look(loop)
    loop.ready = True
    sleeps_without_a_look(loop)
    assert [loop.looks() for _ in range(3)] == [1, 1, 1]
    loop.ready = False
    loop.looks()
    assert sleeps_without_a_look(loop) == 2
