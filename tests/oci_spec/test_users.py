# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Users as an image names them, and images that would name those of the host."""

from __future__ import annotations

from pathlib import Path

import pytest

from pluggd.errors import InvalidArgument, NotFound
from pluggd.oci_spec.users import FoundUser, find_user, read_inside


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    (root / "etc/passwd").write_text(
        "root:x:0:0::/root:/bin/sh\napp:x:1000:1001::/home/app:\nbroken\n12:x:5:6::/n:\n"
    )
    (root / "etc/group").write_text(
        "app:x:1001:\nextra:x:55:other,app\nmore:x:56:app\n"
    )
    return root


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("app", FoundUser(1000, 1001, (55, 56), "/home/app")),
        ("1000", FoundUser(1000, 1001, (55, 56), "/home/app")),
        ("app:extra", FoundUser(1000, 55, (), "/home/app")),
        ("app:77", FoundUser(1000, 77, (), "/home/app")),
        ("4242", FoundUser(4242, 0, (), "/")),
        ("12", FoundUser(5, 6, (), "/n")),
    ],
)
def test_users_are_found(root: Path, text: str, found: FoundUser) -> None:
    assert find_user(root, text) == found


def test_what_is_not_there_is_named(root: Path) -> None:
    with pytest.raises(NotFound, match='user "nobody"'):
        find_user(root, "nobody")
    with pytest.raises(NotFound, match='group "nogroup"'):
        find_user(root, "app:nogroup")
    with pytest.raises(InvalidArgument, match="must be 0 to"):
        find_user(root, "99999999999")


def test_an_image_without_passwd_takes_numbers(tmp_path: Path) -> None:
    assert find_user(tmp_path, "7:8") == FoundUser(7, 8, (), "/")


@pytest.mark.parametrize("target", ["{out}", "../../{name}", "/../../{name}"])
def test_links_do_not_lead_out_of_the_image(root: Path, target: str) -> None:
    outside = root.parent / "secret"
    outside.write_text("evil:x:6:6::/:\n")
    (root / "etc/passwd").unlink()
    link = target.format(out=outside, name="secret")
    (root / "etc/passwd").symlink_to(link)
    assert read_inside(root, "/etc/passwd") == b""


def test_links_inside_are_followed_as_the_container_would(root: Path) -> None:
    (root / "usr").mkdir()
    (root / "etc/passwd").rename(root / "usr/passwd")
    (root / "etc/passwd").symlink_to("/usr/passwd")
    assert find_user(root, "app").uid == 1000


def test_links_in_a_circle_end(root: Path) -> None:
    (root / "etc/passwd").unlink()
    (root / "etc/passwd").symlink_to("passwd")
    assert read_inside(root, "/etc/passwd") == b""
