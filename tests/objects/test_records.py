# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What the record stores share when they write."""

from __future__ import annotations

import pytest

from pluggd.errors import FailedPrecondition, InvalidArgument
from pluggd.model.record import encode
from pluggd.model.types import Descriptor
from pluggd.objects.records import (
    MAX_NAME,
    check_text,
    label_edges,
    stored_form,
    sync_policy,
)
from pluggd.services.images import Image
from pluggd.services.metadata import Edge, Node


def test_a_record_is_stored_in_its_canonical_bytes() -> None:
    image = Image(name="a", labels={"b": "1", "a": "2"})
    assert stored_form(image, "x") == encode(image)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (Image(name="\udc80"), 'image "x": text must be UTF-8: invalid argument'),
        (
            Image(target=Descriptor(size=2**64)),
            'image "x": numbers must fit 64 bits: invalid argument',
        ),
    ],
)
def test_what_nobody_could_read_back_is_refused(image: Image, message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        stored_form(image, 'image "x"')
    assert str(caught.value) == message


def test_a_name_that_nobody_could_read_back_is_refused() -> None:
    check_text("é", "name")
    with pytest.raises(InvalidArgument, match="name: text must be UTF-8"):
        check_text("\udc80", "name")


def test_labels_become_edges_in_their_namespace() -> None:
    labels = {
        "containerd.io/gc.ref.content.l.0": "sha256:a",
        "containerd.io/gc.ref.snapshot.native/x": "s",
        "containerd.io/gc.bref.image": "i",
        "other": "x",
    }
    assert label_edges("ns", labels) == [
        Edge(Node("image", "ns", "i"), back=True),
        Edge(Node("content", "ns", "sha256:a")),
        Edge(Node("snapshot/native", "ns", "s")),
    ]


def test_a_deletion_that_waits_for_nobody_is_refused_with_the_way_out() -> None:
    with pytest.raises(FailedPrecondition) as caught:
        sync_policy(True, lambda: None, 'image "x"')
    assert str(caught.value) == (
        'image "x": sync needs a garbage collection policy (pluggd.gc.v1), and none is '
        "running; delete without sync, or enable one: failed precondition"
    )


def test_a_deletion_without_sync_asks_for_no_policy() -> None:
    def unasked() -> None:
        raise AssertionError("not asked")

    assert sync_policy(False, unasked, "x") is None


def test_a_name_that_no_page_could_carry_is_refused() -> None:
    check_text("n" * MAX_NAME, "Image.Name")
    with pytest.raises(InvalidArgument, match=r"Image\.Name: has 2097153 bytes"):
        check_text("n" * (MAX_NAME + 1), "Image.Name")
