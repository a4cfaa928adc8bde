# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""How a layer is compressed, by its media type."""

from __future__ import annotations

from pluggd.errors import NotImplemented_
from pluggd.model import oci

_NONE, _GZIP, _ZSTD, _SNIFF = "none", "gzip", "zstd", "sniff"

_DOCKER = {
    ".diff.tar": _SNIFF,  # docker archives say so of whatever they have
    ".diff.tar.gzip": _GZIP,
    ".diff.tar.zstd": _ZSTD,
    ".foreign.diff.tar": _SNIFF,
    ".foreign.diff.tar.gzip": _GZIP,
    ".foreign.diff.tar.zstd": _ZSTD,
}
_DOCKER_PREFIX = "application/vnd.docker.image.rootfs"
_OCI = (oci.OCI_LAYER, "application/vnd.oci.image.layer.nondistributable.v1.tar")
_SUFFIXES = {"": _NONE, "gzip": _GZIP, "zstd": _ZSTD}


def compression_of(media_type: str) -> str:
    """`none`, `gzip`, `zstd`, or `sniff` where the type does not say.

    Raises NotImplemented_.
    """
    if media_type.startswith(_DOCKER_PREFIX):
        found = _DOCKER.get(media_type.removeprefix(_DOCKER_PREFIX))
        if found is not None:
            return found
    base, _, suffix = media_type.partition("+")
    if base in _OCI and suffix in _SUFFIXES:
        return _SUFFIXES[suffix]
    raise NotImplemented_(
        f'no processor for media-type "{media_type}": not implemented'
    )


def created(media_type: str) -> str:
    """The compression of a layer that is to be made: of OCI types alone, as containerd.

    Raises NotImplemented_.
    """
    base, _, suffix = media_type.partition("+")
    if base == oci.OCI_LAYER and suffix in _SUFFIXES:
        return _SUFFIXES[suffix]
    raise NotImplemented_(
        f'media type "{media_type}": a diff is {oci.OCI_LAYER}, plain, +gzip or +zstd: '
        "not implemented"
    )
