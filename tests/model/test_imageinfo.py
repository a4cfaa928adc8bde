# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Sizes, platforms and completeness of images, from manifests that may be missing."""

from __future__ import annotations

from typing import Any

import pytest

from pluggd.errors import InvalidArgument, NotFound
from pluggd.model import oci
from pluggd.model.imageinfo import MAX_MANIFEST, ImageInfo
from pluggd.model.platforms import describe, parse
from pluggd.model.types import Descriptor
from pluggd.testing.images import Layout, small_layout

AMD = parse("linux/amd64")


def info_of(layout: Layout, platform: str = "linux/amd64") -> ImageInfo:
    def read(digest: str, size: int) -> bytes:
        if digest not in layout.blobs:
            raise NotFound(f"content {digest}: not found")
        return layout.blobs[digest][:size]

    return ImageInfo(read, parse(platform))


def target(found: dict[str, Any]) -> Descriptor:
    return Descriptor(
        media_type=found["mediaType"], digest=found["digest"], size=found["size"]
    )


def two_platforms() -> tuple[Layout, Descriptor, dict[str, Any], dict[str, Any]]:
    layout = Layout()
    arm = layout.add_image([{"a": b"for arm" * 50}], architecture="arm64")
    amd = layout.add_image([{"a": b"amd"}])
    return layout, target(layout.add_index([arm, amd])), arm, amd


def test_an_image_of_one_manifest_is_as_large_as_all_it_names() -> None:
    layout = small_layout()
    image = target(layout.manifests[0])
    info = info_of(layout)
    assert info.size(image) == sum(map(len, layout.blobs.values()))
    assert [describe(one) for one in info.platforms(image)] == ["linux/amd64"]


def test_of_an_index_only_the_best_manifest_counts() -> None:
    layout, index, arm, amd = two_platforms()
    assert info_of(layout).best(index).digest == amd["digest"]
    assert info_of(layout, "linux/arm64").best(index).digest == arm["digest"]
    sizes = {info_of(layout, one).size(index) for one in ("linux/amd64", "linux/arm64")}
    assert len(sizes) == 2
    assert max(sizes) < sum(map(len, layout.blobs.values()))


def test_indexes_that_name_each_others_parts_are_looked_at_once() -> None:
    layout = Layout()
    below = [layout.add_image([{"a": b"1"}])]
    for level in range(6):
        below = [
            layout.add_json(
                {"manifests": below, "annotations": {"note": f"{level} {n}"}},
                oci.OCI_INDEX,
            )
            for n in range(20)
        ]
    info = info_of(layout)
    asked = 0
    children = info.children

    def count(target: Descriptor) -> list[oci.Child]:
        nonlocal asked
        asked += 1
        assert asked < 10_000, "there are sixty million ways"
        return children(target)

    info.children = count  # type: ignore[method-assign]
    assert info.best(target(below[0])).media_type == oci.OCI_MANIFEST


def test_a_platform_that_the_index_lacks_is_not_found() -> None:
    layout, index, _, _ = two_platforms()
    with pytest.raises(NotFound, match="no match for platform"):
        info_of(layout, "linux/s390x").best(index)


def test_a_size_is_as_much_as_the_manifests_here_tell() -> None:
    layout, index, _, amd = two_platforms()
    del layout.blobs[amd["digest"]]
    assert info_of(layout).size(index) == index.size + amd["size"]
    layout.blobs.clear()
    assert info_of(layout).size(index) == index.size


def test_what_the_index_says_of_platforms_is_believed() -> None:
    layout, index, arm, amd = two_platforms()
    del layout.blobs[arm["digest"]], layout.blobs[amd["digest"]]
    found = [describe(one) for one in info_of(layout).platforms(index)]
    assert found == ["linux/arm64", "linux/amd64"]


def test_check_names_what_is_missing() -> None:
    layout = small_layout()
    image = target(layout.manifests[0])
    layer = layout_layer(layout)
    info = info_of(layout)
    assert info.check(image, lambda _: True).complete
    check = info.check(image, lambda digest: digest != layer)
    assert not check.complete
    assert (len(check.required), [one.digest for one in check.missing]) == (3, [layer])


def layout_layer(layout: Layout) -> str:
    image = target(layout.manifests[0])
    return info_of(layout).children(image)[1].descriptor.digest


def test_an_image_whose_manifest_is_missing_is_unavailable() -> None:
    layout = small_layout()
    image = target(layout.manifests[0])
    layout.blobs.clear()
    check = info_of(layout).check(image, lambda _: True)
    assert (check.available, check.complete) == (False, False)


def test_a_walk_goes_on_past_what_is_missing() -> None:
    layout, index, arm, _ = two_platforms()
    del layout.blobs[arm["digest"]]
    walked = [(node.depth, node.here) for node in info_of(layout).walk(index)]
    assert walked == [(0, True), (1, False), (1, True), (2, True), (2, True)]


def test_a_target_that_is_no_image_has_its_own_size() -> None:
    blob = Descriptor(media_type="text/plain", digest=f"sha256:{'0' * 64}", size=5)
    info = info_of(Layout())
    assert info.size(blob) == 5
    assert info.children(blob) == []
    assert info.platforms(blob) == []


def test_a_manifest_too_large_to_be_one_is_not_read() -> None:
    huge = Descriptor(
        media_type=oci.OCI_MANIFEST, digest=f"sha256:{'0' * 64}", size=MAX_MANIFEST + 1
    )
    with pytest.raises(InvalidArgument, match="may have"):
        info_of(Layout()).children(huge)
