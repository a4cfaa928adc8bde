# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Names of images: what their parts are, and what is said of a bad one."""

from __future__ import annotations

import pytest

from pluggd.errors import InvalidArgument
from pluggd.model.image_names import ImageName, parse_image_name

DIGEST = f"sha256:{'a' * 64}"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("docker.io/library/x:1", ImageName("docker.io", "library/x", "1")),
        ("localhost/x:y", ImageName("localhost", "x", "y")),
        ("127.0.0.1:5000/a/b/c:V1.0", ImageName("127.0.0.1:5000", "a/b/c", "V1.0")),
        ("[::1]:5000/a:b", ImageName("[::1]:5000", "a", "b")),
        (f"r.io/x@{DIGEST}", ImageName("r.io", "x", digest=DIGEST)),
        (f"r.io/x:1@{DIGEST}", ImageName("r.io", "x", "1", DIGEST)),
        ("r:5/a_b__c.d-e--f:x", ImageName("r:5", "a_b__c.d-e--f", "x")),
    ],
)
def test_a_whole_name_has_these_parts(text: str, wanted: ImageName) -> None:
    assert parse_image_name(text) == wanted
    assert str(wanted) == text


def test_the_digest_counts_more_than_the_tag() -> None:
    assert parse_image_name(f"r.io/x:1@{DIGEST}").object == DIGEST


def test_the_host_of_labels_has_no_port() -> None:
    assert parse_image_name("[::1]:5000/a:b").hostname == "::1"
    assert parse_image_name("r.io:5/a:b").hostname == "r.io"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("busybox", "as in docker.io/library/busybox:latest"),
        ("busybox:1", "as in docker.io/library/busybox:1"),
        ("team/app", "as in docker.io/team/app:latest"),
        (f"busybox@{DIGEST}", f"as in docker.io/library/busybox@{DIGEST}"),
        ("r.io/x", "it needs a tag or a digest, as in r.io/x:latest"),
        ("https://r.io/x:1", "no scheme"),
        ("r.io/X:1", "must be lower-case"),
        ("r.io/x:-1", '"-1" is no tag'),
        ("r.io/x@sha256:zz", "invalid checksum digest length"),
        ("r.io//x:1", "must be lower-case"),
        ("-r.io/x:1", '"-r.io" is no host'),
        ("r.io/" + "x" * 300 + ":1", "more than 255 characters"),
        ("", "a registry must stand in front"),
        ("r.io/x:1\n", "is no tag"),
    ],
)
def test_a_bad_name_is_told_with_the_way_out(text: str, why: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse_image_name(text)
    assert why in caught.value.message
