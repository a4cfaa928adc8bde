# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What is a digest."""

from __future__ import annotations

import pytest

from pluggd.errors import InvalidArgument
from pluggd.model.digests import check_digest, split_digest, validate_digest

FORMAT = "invalid checksum digest format"
LENGTH = "invalid checksum digest length"
UNSUPPORTED = "unsupported digest algorithm"


@pytest.mark.parametrize(
    ("algorithm", "length"), [("sha256", 64), ("sha384", 96), ("sha512", 128)]
)
def test_known_algorithms_and_their_lengths(algorithm: str, length: int) -> None:
    assert check_digest(f"{algorithm}:{'a1' * (length // 2)}") is None
    assert check_digest(f"{algorithm}:{'a' * (length - 1)}") == LENGTH
    assert split_digest(f"{algorithm}:{'0' * length}") == (algorithm, "0" * length)


@pytest.mark.parametrize(
    ("digest", "reason"),
    [
        ("", FORMAT),
        ("zz", FORMAT),
        ("sha256", FORMAT),
        ("sha256:", FORMAT),
        (":" + "a" * 64, FORMAT),
        ("sha256:zz", LENGTH),
        ("sha256:" + "A" * 64, FORMAT),
        ("sha256:" + "g" * 64, FORMAT),
        ("sha256:" + "a" * 64 + "\n", FORMAT),
        ("SHA256:" + "a" * 64, FORMAT),
        ("md5:" + "a" * 32, UNSUPPORTED),
        ("sha256+b64:" + "a" * 64, UNSUPPORTED),
        ("sha256:../../etc", FORMAT),
        ("sha256:" + "\u0661" * 64, FORMAT),
    ],
)
def test_what_is_wrong_is_said(digest: str, reason: str) -> None:
    assert check_digest(digest) == reason
    for refusing in (validate_digest, split_digest):
        with pytest.raises(InvalidArgument) as caught:
            refusing(digest)
        shown = digest or '""'
        assert str(caught.value) == f"digest {shown}: {reason}: invalid argument"
