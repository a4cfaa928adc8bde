# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""`pluggctl images tag`, also into another namespace.

Within a namespace the daemon does it, all names at once. Across namespaces this client
does, call by call, so that each is held against the rules of access of its namespace;
the new one needs its own reference to every blob of the image.
A store that shares takes a digest for it, so that no byte is copied; one that
isolates namespaces wants to see the bytes, and gets them through this client. All
of it happens under a lease of the new namespace, which ends when the name exists.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pluggd.cli.ctl.app import App, Fields
from pluggd.cli.ctl.inspection import reader, target_of
from pluggd.cli.ctl.output import clean, json_document, note, out, size
from pluggd.client.plain import map_in
from pluggd.errors import AlreadyExists, NotFound
from pluggd.model.references import BREF, EXPIRE, REF, ROOT
from pluggd.model.types import Descriptor

LEASE_TIME = 3600.0
"""Seconds after which a lease that a killed pluggctl left behind ends."""


def tag(
    app: App, source: str, names: Sequence[str], namespace: str, *, force: bool
) -> None:
    """Create each name in `namespace` for what `source` points to, and print it."""
    if namespace == app.namespace:
        request: Fields = {"source": source, "names": list(names), "force": force}
        made = app.call("transfer.v1.tag", request).get("images", [])
        if not app.json:
            for one in made:
                out(clean(one["name"]))
    else:
        image = app.call("images.v1.get", {"name": source})["image"]
        made = _across(app, image, names, namespace, force)
    if app.json:
        json_document(made)


def _create(
    app: App, image: Fields, name: str, namespace: str, lease: str, force: bool
) -> Fields:
    labels = map_in(image, "labels")
    new: Fields = {"name": name, "target": image["target"], "labels": labels}
    try:
        answer = app.call(
            "images.v1.create", {"image": new}, namespace=namespace, lease=lease
        )
    except AlreadyExists:
        if not force:
            raise
        answer = app.call(
            "images.v1.update", {"image": new}, namespace=namespace, lease=lease
        )
    if not app.json:
        out(clean(name))
    made: Fields = answer["image"]
    return made


def _across(
    app: App, image: Fields, names: Sequence[str], namespace: str, force: bool
) -> list[Fields]:
    lease = app.call(
        "leases.v1.create", {"expires_in": LEASE_TIME}, namespace=namespace
    )["lease"]["id"]
    try:
        shared = copied = 0
        for blob in _blobs(app, target_of(image)):
            if _share(app, blob, namespace, lease):
                shared += 1
            else:
                copied += blob["size"]
        made = [_create(app, image, name, namespace, lease, force) for name in names]
    finally:
        app.call("leases.v1.delete", {"id": lease}, namespace=namespace)
    note(f"namespace {clean(namespace)}: {shared} blobs shared, {size(copied)} copied")
    return made


def _blobs(app: App, target: Descriptor) -> Iterator[Fields]:
    """The info of every blob of the image that is here, each once."""
    seen: set[str] = set()
    for node in reader(app).walk(target):
        digest = node.descriptor.digest
        if digest in seen:
            continue
        seen.add(digest)
        try:
            info: Fields = app.call("content.v1.info", {"digest": digest})["info"]
        except NotFound:
            continue  # of another platform, perhaps; a tag needs no more than is here
        yield info


def _share(app: App, blob: Fields, namespace: str, lease: str) -> bool:
    """Give a namespace a reference to a blob; False when its bytes had to be copied."""
    digest, total = blob["digest"], blob.get("size", 0)
    labels = {
        key: value
        for key, value in map_in(blob, "labels").items()
        if not key.startswith((ROOT, BREF, EXPIRE))  # those say why it is kept there
    }
    begin: Fields = {
        "ref": f"tag-{lease}-{digest}",
        "expected": digest,
        "total": total,
    }
    try:
        state = app.call(
            "content.v1.write",
            {**begin, "action": "stat"},
            namespace=namespace,
            lease=lease,
        )
        adopted = bool(state.get("offset", 0) == total)
        if adopted:
            app.call(
                "content.v1.write",
                {**begin, "action": "commit", "offset": total, "labels": labels},
                namespace=namespace,
                lease=lease,
            )
        else:
            with app.stream("content.v1.fetch", {"digest": digest}) as data:
                app.client.upload(
                    "content.v1.ingest",
                    {**begin, "labels": labels},
                    data,
                    timeout=app.timeout,
                    namespace=namespace,
                    lease=lease,
                )
    except AlreadyExists:
        _add_references(app, digest, labels, namespace)
        return True
    return adopted


def _add_references(
    app: App, digest: str, labels: dict[str, str], namespace: str
) -> None:
    """What a blob that was there before does not say yet about what it needs."""
    answer = app.call("content.v1.info", {"digest": digest}, namespace=namespace)
    has = map_in(answer["info"], "labels")
    missing = {
        key: value
        for key, value in labels.items()
        if key.startswith(REF) and key not in has
    }
    if missing:
        app.call(
            "content.v1.update",
            {
                "info": {"digest": digest, "labels": missing},
                "fields": [f"labels.{key}" for key in missing],
            },
            namespace=namespace,
        )
