# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Listeners come and go."""

from __future__ import annotations

from collections.abc import Callable

from pluggd.objects.listeners import listen


def test_what_is_undone_twice_takes_out_one() -> None:
    listeners: list[Callable[[], None]] = []

    def heard() -> None: ...

    undo = listen(listeners, heard)
    listen(listeners, heard)
    undo()
    undo()
    assert listeners == [heard]
