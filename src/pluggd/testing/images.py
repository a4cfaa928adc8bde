# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Small but real images: OCI layouts and docker archives with gzipped tar layers.

The bytes depend on the arguments alone, so digests in tests are stable.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pluggd.model import oci
from pluggd.model.oci import REF_NAME

Files = Mapping[str, bytes]


@dataclass
class Layout:
    """An OCI layout in memory: blobs by digest, and the entries of index.json."""

    blobs: dict[str, bytes] = field(default_factory=dict[str, bytes])
    manifests: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    def add_blob(self, data: bytes, media_type: str) -> dict[str, Any]:
        """Put a blob in; its descriptor."""
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        self.blobs[digest] = data
        return {"mediaType": media_type, "digest": digest, "size": len(data)}

    def add_json(self, value: object, media_type: str) -> dict[str, Any]:
        data = json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
        return self.add_blob(data, media_type)

    def add_image(
        self,
        layers: Sequence[Files],
        *,
        architecture: str = "amd64",
        variant: str = "",
        annotations: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """Put an image with these layers in; the descriptor of its manifest."""
        tars = [layer_tar(files) for files in layers]
        platform = {"os": "linux", "architecture": architecture}
        if variant:
            platform["variant"] = variant
        config = self.add_json(
            {
                **platform,
                "config": {"Cmd": ["/hello"]},
                "rootfs": {
                    "type": "layers",
                    "diff_ids": [
                        f"sha256:{hashlib.sha256(t).hexdigest()}" for t in tars
                    ],
                },
                "history": [{"created_by": "pluggd.testing"} for _ in tars],
            },
            oci.OCI_CONFIG,
        )
        manifest: dict[str, Any] = {
            "schemaVersion": 2,
            "mediaType": oci.OCI_MANIFEST,
            "config": config,
            "layers": [
                self.add_blob(gzip.compress(tar, mtime=0), f"{oci.OCI_LAYER}+gzip")
                for tar in tars
            ],
        }
        if annotations:
            manifest["annotations"] = dict(annotations)
        return {**self.add_json(manifest, oci.OCI_MANIFEST), "platform": platform}

    def add_index(self, manifests: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Put an index over these manifests in; its descriptor."""
        return self.add_json(
            {
                "schemaVersion": 2,
                "mediaType": oci.OCI_INDEX,
                "manifests": list(manifests),
            },
            oci.OCI_INDEX,
        )

    def name(
        self,
        descriptor: dict[str, Any],
        reference: str | None,
        annotations: Mapping[str, str] | None = None,
    ) -> None:
        """Make an entry of index.json, with a name unless it is None."""
        noted = dict(annotations or {})
        if reference is not None:
            noted[REF_NAME] = reference
        self.manifests.append({**descriptor, "annotations": noted})

    def files(self) -> dict[str, bytes]:
        """The files of the layout by path, in the order an export has."""
        index = {
            "schemaVersion": 2,
            "mediaType": oci.OCI_INDEX,
            "manifests": self.manifests,
        }
        found = {
            f"blobs/{digest.replace(':', '/')}": data
            for digest, data in sorted(self.blobs.items())
        }
        found["index.json"] = json.dumps(index, sort_keys=True).encode()
        found["oci-layout"] = b'{"imageLayoutVersion":"1.0.0"}'
        return found

    def tar(self) -> bytes:
        """The layout as an archive."""
        return pack(self.files())


def pack(files: Files) -> bytes:
    """A tar of these files, in this order."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def layer_tar(files: Files) -> bytes:
    """A layer, not compressed."""
    return pack(dict(sorted(files.items())))


def small_layout(reference: str | None = "docker.io/library/hello:latest") -> Layout:
    """One image with two layers, under one name."""
    layout = Layout()
    image = layout.add_image(
        [
            {"etc/os-release": b"NAME=hello\n", "hello": b"#!/bin/sh\necho hello\n"},
            {"usr/share/doc/hello": b"greetings\n" * 400},
        ]
    )
    layout.name(image, reference)
    return layout


def docker_archive(
    tags: Sequence[str] = ("hello:latest",), *, link_layers: bool = False
) -> bytes:
    """What `docker save` wrote before it wrote OCI layouts: two layers, uncompressed.

    link_layers: the second layer equals the first and is a symbolic link to it.
    """
    first = layer_tar({"hello": b"#!/bin/sh\necho hello\n"})
    second = first if link_layers else layer_tar({"etc/motd": b"hi\n"})
    config = json.dumps(
        {
            "os": "linux",
            "architecture": "amd64",
            "rootfs": {
                "type": "layers",
                "diff_ids": [
                    f"sha256:{hashlib.sha256(tar).hexdigest()}"
                    for tar in (first, second)
                ],
            },
        }
    ).encode()
    name = f"{hashlib.sha256(config).hexdigest()}.json"
    files = {name: config, "a/layer.tar": first}
    if not link_layers:
        files["b/layer.tar"] = second
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        if link_layers:
            link = tarfile.TarInfo("b/layer.tar")
            link.type = tarfile.SYMTYPE
            link.linkname = "../a/layer.tar"
            tar.addfile(link)
        for path, data in {
            **files,
            "manifest.json": json.dumps(
                [
                    {
                        "Config": name,
                        "RepoTags": list(tags),
                        "Layers": ["a/layer.tar", "b/layer.tar"],
                    }
                ]
            ).encode(),
        }.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()
