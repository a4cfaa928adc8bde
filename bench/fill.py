# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""A store with any number of images, made in process: `fill.py ROOT FIRST COUNT BLOBS`.

The plugins' own code makes every record, with its references and its event, thousands in one
transaction; no daemon runs. Images FIRST to FIRST + COUNT are added, each with
BLOBS blobs of its own that it keeps alive. The blobs are records without files: what
is measured then never reads their bytes.
"""

from __future__ import annotations

import hashlib
import sys
from functools import partial
from pathlib import Path

import trio

from pluggd.contents.catalog import Catalog
from pluggd.model.types import Descriptor
from pluggd.services.call import using
from pluggd.services.images import Image, Images
from pluggd.services.metadata import METADATA, Metadata, Transaction
from pluggd.testing import FakeContext
from plugins.content.config import Config as ContentConfig
from plugins.content.registration import start as start_content
from plugins.events.config import Config as EventsConfig
from plugins.events.registration import start as start_events
from plugins.images.registration import start as start_images
from plugins.metadata.config import Config as MetadataConfig
from plugins.metadata.registration import start as start_metadata

NAMESPACE = "default"
BATCH = 5_000
"""Records in one transaction."""

LABEL = "containerd.io/gc.ref.content.{}"


def name_of(number: int) -> str:
    """Names as they are: few registries, many repositories, a tag."""
    return f"registry.example/team{number % 97}/app{number}:v1"


def digest_of(number: int, blob: int) -> str:
    return "sha256:" + hashlib.sha256(f"{number}/{blob}".encode()).hexdigest()


def add(
    txn: Transaction, images: Images, catalog: Catalog, numbers: range, blobs: int
) -> None:
    with using(namespace=NAMESPACE):
        for number in numbers:
            for blob in range(blobs - 1, -1, -1):
                others = range(1, blobs) if blob == 0 else ()
                catalog.commit(
                    txn,
                    namespace=NAMESPACE,
                    ref="",
                    digest=digest_of(number, blob),
                    size=1000,
                    labels={
                        LABEL.format(other): digest_of(number, other)
                        for other in others
                    },
                    fresh=True,
                )
            target = Descriptor(
                media_type="application/vnd.oci.image.manifest.v1+json",
                digest=digest_of(number, 0),
                size=1000,
            )
            image = Image(
                name=name_of(number), labels={"team": f"{number % 97}"}, target=target
            )
            txn.run(images.create(image=image))


async def fill(root: Path, first: int, count: int, blobs: int) -> None:
    async with trio.open_nursery() as nursery:

        def context(config: object, uri: str, kinds: object = None) -> FakeContext:
            directory = root / uri
            directory.mkdir(parents=True, exist_ok=True)
            return FakeContext(config, kinds, root=directory, nursery=nursery)

        store = context(MetadataConfig(), "pluggd.metadata.v1.lmdb")
        async with start_metadata(store) as metadata:
            kinds: dict = {METADATA: metadata}
            async with (
                start_events(context(EventsConfig(), "events", kinds)),
                start_content(
                    context(ContentConfig(), "pluggd.content.v1.local", kinds)
                ),
                start_images(context(None, "images", kinds)) as images,
            ):
                await add_all(metadata, images, first, count, blobs)
                nursery.cancel_scope.cancel()


async def add_all(
    metadata: Metadata, images: Images, first: int, count: int, blobs: int
) -> None:
    catalog = Catalog(shareable=lambda txn, namespace: False, ingest_expiry=0)
    step = max(BATCH // (1 + blobs), 1)
    for begin in range(first, first + count, step):
        numbers = range(begin, min(begin + step, first + count))
        await metadata.update(
            partial(add, images=images, catalog=catalog, numbers=numbers, blobs=blobs),
            long=True,
        )


if __name__ == "__main__":
    trio.run(fill, Path(sys.argv[1]), *map(int, sys.argv[2:5]))
