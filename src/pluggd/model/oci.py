# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""OCI and Docker images: media types, what a manifest refers to, labels on its parts.

Pure: bytes of JSON in, records out. Field names in JSON are camel case, here they
are Python's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pluggd.errors import InvalidArgument
from pluggd.model.digests import check_digest
from pluggd.model.record import Record, decode_json
from pluggd.model.types import Descriptor, Platform

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"

INDEXES = frozenset({OCI_INDEX, DOCKER_INDEX})
MANIFESTS = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
CONFIGS = frozenset({OCI_CONFIG, DOCKER_CONFIG})

IMAGE_NAME = "io.containerd.image.name"
REF_NAME = "org.opencontainers.image.ref.name"

CHILD_LABEL = "containerd.io/gc.ref.content."

_NON_DISTRIBUTABLE = (
    "application/vnd.oci.image.layer.nondistributable.",
    "application/vnd.docker.image.rootfs.foreign.",
)
_LAYERS = ("application/vnd.oci.image.layer.", "application/vnd.docker.image.rootfs.")


class JsonPlatform(Record, frozen=True, rename={"os_version": "os.version"}):
    os: str = ""
    architecture: str = ""
    variant: str = ""
    os_version: str = ""


class JsonDescriptor(Record, frozen=True, rename="camel"):
    """A descriptor as manifests write it."""

    media_type: str = ""
    digest: str = ""
    size: int = 0
    annotations: dict[str, str] | None = None
    platform: JsonPlatform | None = None
    urls: list[str] | None = None


class JsonManifest(Record, frozen=True, rename="camel"):
    """Whatever a manifest or index may hold; which of the two it is, is checked."""

    schema_version: int = 0
    media_type: str = ""
    config: JsonDescriptor | None = None
    layers: list[JsonDescriptor] | None = None
    manifests: list[JsonDescriptor] | None = None
    fs_layers: list[object] | None = None
    annotations: dict[str, str] | None = None


class JsonConfig(Record, frozen=True):
    """The part of an image configuration that says where it runs."""

    os: str = ""
    architecture: str = ""
    variant: str = ""


class Child(Record, frozen=True):
    """What a manifest refers to, and for which platform (index entries that say so).

    urls: where it is beside the registry, as layers say that a registry may not serve.
    """

    descriptor: Descriptor
    platform: Platform | None = None
    urls: list[str] = []


def is_index(media_type: str) -> bool:
    return media_type in INDEXES


def is_manifest(media_type: str) -> bool:
    return media_type in MANIFESTS


def is_layer(media_type: str) -> bool:
    return media_type.startswith(_LAYERS)


def is_non_distributable(media_type: str) -> bool:
    """Whether a registry may not serve this layer, so that it may be missing."""
    return media_type.startswith(_NON_DISTRIBUTABLE)


def read_manifest(data: bytes, media_type: str, digest: str) -> JsonManifest:
    """The manifest or index that these bytes are.

    Raises InvalidArgument for bytes that are neither, for one that poses as the
    other (CVE-2021-41190: two tools would see two images), and for schema 1.
    """
    what = f"{'index' if is_index(media_type) else 'manifest'} {digest}"
    manifest = decode_json(data, JsonManifest, what)
    if manifest.fs_layers is not None:
        raise InvalidArgument(
            f"{what}: schema 1 manifests are not supported; convert the image "
            "with a current tool: invalid argument"
        )
    if is_index(media_type):
        wrong = manifest.config is not None or manifest.layers is not None
        wrong = wrong or is_manifest(manifest.media_type)
        if wrong:
            raise InvalidArgument(f"{what}: holds a config or layers: invalid argument")
    else:
        wrong = manifest.manifests is not None or is_index(manifest.media_type)
        if wrong:
            raise InvalidArgument(f"{what}: holds manifests: invalid argument")
    for child in (*(manifest.manifests or ()), *(manifest.layers or ())):
        _check(child, what)
    if manifest.config is not None:
        _check(manifest.config, what)
    return manifest


def children(data: bytes, media_type: str, digest: str) -> list[Child]:
    """What a blob of this type refers to: config and layers, or manifests; else nothing.

    Raises as `read_manifest`.
    """
    if not is_index(media_type) and not is_manifest(media_type):
        return []
    manifest = read_manifest(data, media_type, digest)
    if is_index(media_type):
        return [_child(entry) for entry in manifest.manifests or ()]
    config = [_child(manifest.config)] if manifest.config is not None else []
    return [*config, *(_child(entry) for entry in manifest.layers or ())]


def child_labels(found: Iterable[Descriptor]) -> dict[str, str]:
    """The labels on a parent that keep its children, under containerd's names.

    Manifests, layers and what is neither, an index among it, are counted apart; the
    one config has no number.
    """
    labels: dict[str, str] = {}
    counts: dict[str, int] = {}
    for child in found:
        if is_manifest(child.media_type):
            prefix = "m."
        elif is_layer(child.media_type):
            prefix = "l."
        elif child.media_type in CONFIGS:
            prefix = "config"
        else:
            prefix = ""
        count = counts.get(prefix, 0)
        counts[prefix] = count + 1
        suffix = "" if prefix == "config" and count == 0 else str(count)
        labels[f"{CHILD_LABEL}{prefix}{suffix}"] = child.digest
    return labels


def read_platform(config: bytes, digest: str) -> Platform:
    """Where an image of this configuration runs."""
    found = decode_json(config, JsonConfig, f"config {digest}")
    return Platform(os=found.os, architecture=found.architecture, variant=found.variant)


def names(annotations: dict[str, str]) -> Sequence[str]:
    """The full name and the reference that an index entry carries, "" where none."""
    return annotations.get(IMAGE_NAME, ""), annotations.get(REF_NAME, "")


def _check(found: JsonDescriptor, what: str) -> None:
    reason = check_digest(found.digest)
    if reason is not None:
        raise InvalidArgument(f'{what}: digest "{found.digest}": {reason}')
    if found.size < 0:
        raise InvalidArgument(f"{what}: {found.digest} has a negative size")


def _child(found: JsonDescriptor) -> Child:
    platform = found.platform
    return Child(
        descriptor=Descriptor(
            media_type=found.media_type,
            digest=found.digest,
            size=found.size,
            annotations=found.annotations or {},
        ),
        platform=None
        if platform is None
        else Platform(
            os=platform.os,
            architecture=platform.architecture,
            variant=platform.variant,
            os_version=platform.os_version,
        ),
        urls=found.urls or [],
    )
