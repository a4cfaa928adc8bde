# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The files of an archive that describe it, and what they say.

Pure: bytes in, records out. `oci-layout` with `index.json` makes an OCI layout;
else `manifest.json` makes a docker archive.
"""

from __future__ import annotations

from pluggd.errors import InvalidArgument
from pluggd.model.digests import check_digest
from pluggd.model.oci import (
    IMAGE_NAME,
    OCI_INDEX,
    REF_NAME,
    Child,
    children,
)
from pluggd.model.record import Record, decode_json

LAYOUT_FILE = "oci-layout"
INDEX_FILE = "index.json"
DOCKER_FILE = "manifest.json"
DESCRIBING = frozenset({LAYOUT_FILE, INDEX_FILE, DOCKER_FILE})
LAYOUT_VERSION = "1.0.0"


class _Layout(Record, frozen=True, rename={"version": "imageLayoutVersion"}):
    version: str = ""


class DockerImage(Record, frozen=True, rename="pascal"):
    """One entry of a docker archive's manifest.json; paths within the archive."""

    config: str = ""
    repo_tags: list[str] | None = None
    layers: list[str] | None = None


def check_layout(data: bytes) -> None:
    """Raises InvalidArgument for a layout version that is not 1.0.0."""
    found = decode_json(data, _Layout, LAYOUT_FILE)
    if found.version != LAYOUT_VERSION:
        raise InvalidArgument(
            f'{LAYOUT_FILE}: image layout version "{found.version}" is not supported; '
            f"it must be {LAYOUT_VERSION}: invalid argument"
        )


def read_index(data: bytes) -> list[Child]:
    """The entries of index.json, annotations kept."""
    return children(data, OCI_INDEX, INDEX_FILE)


def read_docker(data: bytes) -> list[DockerImage]:
    """The images of a docker archive."""
    return decode_json(data, list[DockerImage], DOCKER_FILE)


def blob_digest(name: str) -> str | None:
    """The digest that a path below `blobs/` states, None for other paths.

    Raises InvalidArgument for a path there that is no digest.
    """
    parts = name.split("/")
    if parts[0] != "blobs" or len(parts) == 1:
        return None
    digest = ":".join(parts[1:])
    if len(parts) != 3 or check_digest(digest) is not None:
        raise InvalidArgument(
            f'archive entry "{name}" must be blobs/<algorithm>/<hex>: invalid argument'
        )
    return digest


def clean_name(name: str) -> str:
    """The entry's path without `./` and a trailing slash.

    Raises InvalidArgument for a path that leaves the archive.
    """
    if name.startswith("/"):
        raise InvalidArgument(
            f'archive entry "{name}" is an absolute path: invalid argument'
        )
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise InvalidArgument(
            f'archive entry "{name}" leaves the archive by "..": invalid argument'
        )
    if "\0" in name:
        raise InvalidArgument(
            f"archive entry {name!r} has a NUL in its name: invalid argument"
        )
    return "/".join(parts)


def resolve_link(name: str, link: str) -> str:
    """Where a symbolic link within the archive points, as a clean name.

    Raises InvalidArgument for one that leaves the archive.
    """
    if link.startswith("/"):
        raise InvalidArgument(
            f'archive entry "{name}" is a link to the absolute path "{link}": '
            "invalid argument"
        )
    stack = name.split("/")[:-1]
    for part in link.split("/"):
        if part == "..":
            if not stack:
                raise InvalidArgument(
                    f'archive entry "{name}" is a link that leaves the archive: '
                    f'"{link}": invalid argument'
                )
            stack.pop()
        elif part not in ("", "."):
            stack.append(part)
    return "/".join(stack)


def image_name(annotations: dict[str, str], base_name: str, prefix: str) -> str:
    """The name that an index entry gets, or "" when it has none.

    A full name stands. A bare tag is joined to `base_name`, or to `prefix`. With a
    base name, full references that do not begin with it at a boundary are dropped.
    """
    full = annotations.get(IMAGE_NAME, "")
    if full:
        return full
    reference = annotations.get(REF_NAME, "")
    if not reference:
        return ""
    if not any(mark in reference for mark in "/:@"):
        return f"{base_name or prefix}:{reference}"
    if not base_name or reference == base_name:
        return reference
    at_boundary = reference.startswith(base_name) and reference[
        len(base_name) : len(base_name) + 1
    ] in ("/", ":", "@")
    return reference if at_boundary else ""


def docker_name(tag: str) -> str:
    """The full form of a familiar name: `busybox` is docker.io/library/busybox:latest."""
    name, at, digest = tag.partition("@")
    first, slash, rest = name.partition("/")
    if not slash or ("." not in first and ":" not in first and first != "localhost"):
        name = f"docker.io/library/{name}" if not slash else f"docker.io/{name}"
    elif first == "index.docker.io":
        name = f"docker.io/{rest}"
    if not at and ":" not in name.rpartition("/")[2]:
        name += ":latest"
    return f"{name}{at}{digest}"


def familiar_name(name: str) -> str:
    """The short form that docker shows; the inverse of `docker_name` for tags."""
    return name.removeprefix("docker.io/").removeprefix("library/")
