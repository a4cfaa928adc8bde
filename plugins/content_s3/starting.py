# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The store over its bucket, and what keeps it well: the first look, and what is done
when the object store is back.

A bucket that cannot be reached fails no start: records answer without it, and what needs
bytes is `unavailable` until it is back.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import trio

from pluggd.contents.assembly import open_tables, running
from pluggd.contents.cleaning import Cleaner
from pluggd.contents.spool import Spool
from pluggd.errors import FailedPrecondition, PluggdError, Unavailable
from pluggd.plugin import Context
from pluggd.services.content import Content
from pluggd.services.metadata import METADATA

from .bucket import Bucket
from .config import Config
from .mark import Identity, ObjectMark
from .objectblobs import ObjectBlobs
from .trouble import Health

PATIENCE = 8.0
"""Seconds that a start waits for the bucket."""

FIRST_PAUSE, LAST_PAUSE = 0.5, 30.0
"""Seconds between two looks at a bucket in trouble."""


@asynccontextmanager
async def started(ctx: Context[Config]) -> AsyncGenerator[Content]:
    metadata = ctx.get(METADATA)
    await open_tables(metadata)
    spool = Spool(ctx.root, durable=False)
    await trio.to_thread.run_sync(spool.prepare)
    health = Health(ctx.degraded)
    bucket = Bucket(ctx.config, health)
    identity = Identity(metadata, ObjectMark(bucket))
    ctx.export("place", bucket.where)
    try:
        with trio.fail_after(PATIENCE):
            await identity.check()
    except Unavailable as error:
        ctx.log.warning("%s", error)
    except trio.TooSlowError:
        late = f"{bucket.where}: no answer within {PATIENCE:g} s: unavailable"
        health.trouble(Unavailable(late))
        ctx.log.warning("%s", late)
    async with running(ctx, ObjectBlobs(bucket, identity, spool), spool) as one:
        ctx.spawn(keep_well, identity, health, one.cleaner, name="keep well")
        yield one.store


async def keep_well(identity: Identity, health: Health, cleaner: Cleaner) -> None:
    """Look for leftovers once, as soon as the bucket answers; after each trouble remove
    what could not be removed in it."""
    pause, reconciled = FIRST_PAUSE, False
    while True:
        try:
            await identity.reach()
            if reconciled:
                await cleaner.cleanup()
            else:
                await cleaner.reconcile()
                reconciled = True
        except (Unavailable, FailedPrecondition) as error:
            note(health, error)
        if health.is_well:
            pause = FIRST_PAUSE
            await health.troubled()
        await trio.sleep(pause)
        pause = min(2 * pause, LAST_PAUSE)


def note(health: Health, error: PluggdError) -> None:
    if health.is_well:
        health.trouble(error)
