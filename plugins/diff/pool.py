# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The worker processes: started when there is work, ended when there is none."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import trio

from pluggd.errors import Internal, PluggdError

if TYPE_CHECKING:
    from .child import Message, Worker

IDLE = 10.0
"""Seconds without work after which the processes end; one starts in some 50 ms."""

Logger = logging.LoggerAdapter[logging.Logger]


class Pool:
    """`run` jobs; `tend` must run meanwhile, and `close` comes last."""

    def __init__(self, size: int, log: Logger) -> None:
        self._limit = trio.CapacityLimiter(size)
        self._idle: list[Worker] = []
        self._log = log
        self._used = trio.Event()

    async def run(
        self,
        job: Message,
        fds: Sequence[int],
        progress: Callable[[Message], None],
    ) -> Message:
        """What a job answers; progress is called with its reports. Cancelling kills
        the process. Raises PluggdError."""
        from .child import WorkerFailed  # no start needs a worker

        async with self._limit:
            worker = await self._worker()
            usable = False
            try:
                answer = await worker.run(job, fds, progress)
                usable = True
                return answer
            except PluggdError:
                usable = worker.alive
                raise
            except WorkerFailed as error:
                self._log.error("a worker failed: %s", error)
                raise Internal("internal error in a worker; see the log") from error
            finally:
                if usable:
                    self._idle.append(worker)
                    self._used.set()
                else:
                    await worker.kill()

    async def tend(self) -> None:
        """End the processes that have had no work for a while."""
        while True:
            await self._used.wait()
            self._used = trio.Event()
            with trio.move_on_after(IDLE):
                await self._used.wait()
                continue
            await self.close()

    async def close(self) -> None:
        """End the processes that do nothing."""
        while self._idle:
            await self._idle.pop().kill()

    async def _worker(self) -> Worker:
        from .child import Worker

        while self._idle:
            worker = self._idle.pop()
            if worker.alive:
                return worker
            await worker.kill()
        return await Worker.start()
