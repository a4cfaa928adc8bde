# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a manifest is, what it refers to, and what keeps that."""

from __future__ import annotations

import json

import pytest

from pluggd.errors import InvalidArgument
from pluggd.model.oci import (
    CHILD_LABEL,
    CONFIGS,
    DOCKER_CONFIG,
    DOCKER_INDEX,
    DOCKER_LAYER,
    DOCKER_MANIFEST,
    IMAGE_NAME,
    INDEXES,
    MANIFESTS,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER,
    OCI_MANIFEST,
    REF_NAME,
    child_labels,
    children,
    is_index,
    is_layer,
    is_manifest,
    is_non_distributable,
    names,
    read_manifest,
    read_platform,
)
from pluggd.model.types import Descriptor, Platform

PARENT = f"sha256:{'f' * 64}"
FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
UNSHARED = "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd"
OTHER = "application/vnd.in-toto+json"


def digest(number: int) -> str:
    return f"sha256:{number:064x}"


def entry(number: int, media_type: str, **more: object) -> dict[str, object]:
    return {"mediaType": media_type, "digest": digest(number), "size": number, **more}


def manifest(**more: object) -> bytes:
    value = {
        "schemaVersion": 2,
        "config": entry(1, OCI_CONFIG),
        "layers": [entry(2, f"{OCI_LAYER}+gzip"), entry(3, OCI_LAYER)],
    }
    return json.dumps({**value, **more}).encode()


def index(*entries: dict[str, object], **more: object) -> bytes:
    return json.dumps({"schemaVersion": 2, "manifests": entries, **more}).encode()


def found(data: bytes, media_type: str) -> list[str]:
    return [one.descriptor.digest for one in children(data, media_type, PARENT)]


# --- media types


@pytest.mark.parametrize("media_type", sorted(INDEXES | MANIFESTS | CONFIGS))
def test_a_type_is_of_one_sort(media_type: str) -> None:
    sorts = [
        is_index(media_type),
        is_manifest(media_type),
        media_type in CONFIGS,
        is_layer(media_type),
    ]
    assert sorts.count(True) == 1


@pytest.mark.parametrize(
    "media_type",
    [OCI_LAYER, f"{OCI_LAYER}+zstd", f"{DOCKER_LAYER}.gzip", FOREIGN, UNSHARED],
)
def test_layers_are_known_by_how_their_type_begins(media_type: str) -> None:
    assert is_layer(media_type)


@pytest.mark.parametrize("media_type", [FOREIGN, UNSHARED])
def test_layers_that_no_registry_may_serve(media_type: str) -> None:
    assert is_non_distributable(media_type)


@pytest.mark.parametrize("media_type", [OCI_LAYER, DOCKER_LAYER, OCI_MANIFEST, OTHER])
def test_all_else_may_be_served(media_type: str) -> None:
    assert not is_non_distributable(media_type)


# --- children


@pytest.mark.parametrize("media_type", [OCI_MANIFEST, DOCKER_MANIFEST])
def test_a_manifest_refers_to_its_config_and_then_its_layers(media_type: str) -> None:
    assert found(manifest(), media_type) == [digest(1), digest(2), digest(3)]


def test_a_manifest_may_do_without_config_and_layers() -> None:
    assert found(b"{}", OCI_MANIFEST) == []
    assert found(manifest(config=None), OCI_MANIFEST) == [digest(2), digest(3)]


@pytest.mark.parametrize("media_type", [OCI_INDEX, DOCKER_INDEX])
def test_an_index_refers_to_its_manifests_in_order(media_type: str) -> None:
    data = index(entry(7, OCI_MANIFEST), entry(5, OCI_INDEX), entry(6, OTHER))
    assert found(data, media_type) == [digest(7), digest(5), digest(6)]


def test_an_empty_index_refers_to_nothing() -> None:
    assert found(b"{}", OCI_INDEX) == []


@pytest.mark.parametrize("media_type", [OCI_LAYER, OCI_CONFIG, OTHER, ""])
def test_other_blobs_are_leaves_and_not_looked_at(media_type: str) -> None:
    assert children(b"\x1f\x8b no JSON", media_type, PARENT) == []


def test_a_child_keeps_all_that_its_entry_says() -> None:
    platform = {
        "os": "windows",
        "architecture": "arm64",
        "variant": "v8",
        "os.version": "10.0.1",
        "os.features": ["win32k"],
    }
    data = index(
        entry(7, OCI_MANIFEST, platform=platform, annotations={"a": "b"}, urls=["u"]),
        entry(8, OCI_MANIFEST),
    )
    one, two = children(data, OCI_INDEX, PARENT)
    assert one.descriptor == Descriptor(
        media_type=OCI_MANIFEST, digest=digest(7), size=7, annotations={"a": "b"}
    )
    assert one.platform == Platform(
        os="windows", architecture="arm64", variant="v8", os_version="10.0.1"
    )
    assert two.platform is None


# --- what is refused


@pytest.mark.parametrize(
    ("data", "media_type", "reason"),
    [
        (manifest(manifests=[]), OCI_MANIFEST, f"manifest {PARENT}: holds manifests"),
        (manifest(mediaType=OCI_INDEX), OCI_MANIFEST, "holds manifests"),
        (manifest(mediaType=DOCKER_INDEX), DOCKER_MANIFEST, "holds manifests"),
        (manifest(), OCI_INDEX, f"index {PARENT}: holds a config or layers"),
        (index(layers=[]), OCI_INDEX, "holds a config or layers"),
        (index(config=entry(1, OCI_CONFIG)), OCI_INDEX, "holds a config or layers"),
        (index(mediaType=DOCKER_MANIFEST), DOCKER_INDEX, "holds a config or layers"),
    ],
)
def test_what_two_tools_could_read_differently_is_refused(
    data: bytes, media_type: str, reason: str
) -> None:
    with pytest.raises(InvalidArgument, match=reason):
        read_manifest(data, media_type, PARENT)


@pytest.mark.parametrize("media_type", [OCI_MANIFEST, OCI_INDEX])
def test_schema_1_is_refused_with_the_way_out(media_type: str) -> None:
    data = json.dumps({"schemaVersion": 1, "fsLayers": [{"blobSum": "x"}]}).encode()
    with pytest.raises(InvalidArgument, match=r"schema 1 .*; convert the image"):
        read_manifest(data, media_type, PARENT)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{",
        b'{"layers": 1}',
        b'{"layers": [{"size": "1"}]}',
        b'{"mediaType": "\xff"}',
        b'{"layers": ' + b"[" * 100_000,
    ],
)
def test_what_cannot_be_read_names_the_manifest(data: bytes) -> None:
    with pytest.raises(InvalidArgument, match=f"^manifest {PARENT}: "):
        read_manifest(data, OCI_MANIFEST, PARENT)


@pytest.mark.parametrize(
    ("data", "media_type"),
    [
        (manifest(config={**entry(1, OCI_CONFIG), "digest": "../x"}), OCI_MANIFEST),
        (manifest(layers=[{**entry(1, OCI_LAYER), "digest": "../x"}]), OCI_MANIFEST),
        (index({**entry(1, OCI_MANIFEST), "digest": "../x"}), OCI_INDEX),
    ],
)
def test_a_digest_that_is_none_is_refused_wherever_it_stands(
    data: bytes, media_type: str
) -> None:
    with pytest.raises(
        InvalidArgument, match=r'digest "\.\./x": invalid checksum digest'
    ):
        children(data, media_type, PARENT)


def test_a_negative_size_is_refused() -> None:
    data = manifest(layers=[{**entry(4, OCI_LAYER), "size": -1}])
    with pytest.raises(InvalidArgument, match=f"{digest(4)} has a negative size"):
        children(data, OCI_MANIFEST, PARENT)


# --- labels


def labels_of(*media_types: str) -> dict[str, str]:
    descriptors = [
        Descriptor(media_type=media_type, digest=digest(number))
        for number, media_type in enumerate(media_types)
    ]
    labels = child_labels(descriptors)
    assert all(key.startswith(CHILD_LABEL) for key in labels)
    return {key.removeprefix(CHILD_LABEL): value for key, value in labels.items()}


def test_the_children_of_a_manifest_are_labelled_as_containerd_does() -> None:
    assert labels_of(DOCKER_CONFIG, DOCKER_LAYER, FOREIGN) == {
        "config": digest(0),
        "l.0": digest(1),
        "l.1": digest(2),
    }


def test_the_children_of_an_index_are_labelled_as_containerd_does() -> None:
    assert labels_of(OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, OTHER) == {
        "m.0": digest(0),
        "0": digest(1),
        "m.1": digest(2),
        "1": digest(3),
    }


def test_a_second_config_has_a_number() -> None:
    assert labels_of(OCI_CONFIG, OCI_CONFIG) == {
        "config": digest(0),
        "config1": digest(1),
    }


def test_without_children_there_are_no_labels() -> None:
    assert child_labels([]) == {}


# --- what else an image says


def test_the_platform_of_a_configuration() -> None:
    config = b'{"os": "linux", "architecture": "arm", "variant": "v7", "rootfs": {}}'
    assert read_platform(config, PARENT) == Platform(
        os="linux", architecture="arm", variant="v7"
    )


def test_a_configuration_need_not_say_where_it_runs() -> None:
    assert read_platform(b"{}", PARENT) == Platform()


def test_a_configuration_that_cannot_be_read_is_named() -> None:
    with pytest.raises(InvalidArgument, match=f"^config {PARENT}: "):
        read_platform(b'{"os": 1}', PARENT)


def test_the_names_in_annotations() -> None:
    full = "docker.io/library/hello:latest"
    assert names({IMAGE_NAME: full, REF_NAME: "latest"}) == (full, "latest")
    assert names({"other": "x"}) == ("", "")
