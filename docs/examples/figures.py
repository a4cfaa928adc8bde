# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Numbers for operators: what is counted, shown beside the daemon's own figures."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager

from pluggd.model.figures import Figure, Histogram, by_label, gauge, histogram
from pluggd.plugin import Context, NoConfig, Registration, hookimpl
from pluggd.services.kind import Kind


class Kitchen:
    """What is counted is a plain integer or a `Histogram`; figures are made of it."""

    def __init__(self) -> None:
        self.waiting = 0
        self.cooked: Counter[str] = Counter()
        self.times = Histogram()  # from 10 us to 10 s; give other bounds for sizes

    def cook(self, dish: str) -> None:
        begun = time.perf_counter()
        self.cooked[dish] += 1
        self.times.observe(time.perf_counter() - begun)

    def figures(self) -> Iterable[Figure]:
        yield gauge("kitchen_orders", "Orders that wait.", self.waiting)
        yield by_label("kitchen_dishes", "counter", "Cooked.", "dish", self.cooked)
        yield histogram("kitchen_cook_seconds", "Time for one dish.", self.times)


KITCHEN = Kind("example.kitchen.v1", Kitchen)


@asynccontextmanager
async def start(ctx: Context[NoConfig]) -> AsyncGenerator[Kitchen]:
    kitchen = Kitchen()
    ctx.export_figures(kitchen.figures)
    yield kitchen


@hookimpl
def pluggd_register() -> Registration[Kitchen, NoConfig]:
    return Registration(provides=KITCHEN, id="main", start=start)
