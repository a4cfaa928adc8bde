# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Names of images in registries: `host[:port]/path[:tag][@digest]`.

Nothing is filled in. A name is the key of an image record and stands in labels and
leases, so the short forms that some tools know would be a second name for one image;
the error says the whole one.
"""

from __future__ import annotations

import re

from pluggd.errors import InvalidArgument
from pluggd.model.digests import check_digest
from pluggd.struct import Struct

MAX_NAME = 255
"""Characters of host and path together, as the distribution specification has it."""

# Texts: many a process has no name to look at, and `re` keeps what it compiled.
_HOST = (
    r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
    r"(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*|\[[0-9a-fA-F:.]+\])(?::[0-9]+)?\Z"
)
_PATH = (
    r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
    r"(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*\Z"
)
_TAG = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}\Z"


class ImageName(Struct, frozen=True):
    """The parts of a name. tag or digest is "" where absent."""

    host: str
    path: str
    tag: str = ""
    digest: str = ""

    @property
    def object(self) -> str:
        """What a registry is asked for: the digest, or else the tag."""
        return self.digest or self.tag

    @property
    def hostname(self) -> str:
        """The host without its port, as the ecosystem's labels have it."""
        if self.host.startswith("["):
            return self.host[1:].partition("]")[0]
        return self.host.partition(":")[0]

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.host}/{self.path}{tag}{digest}"


def parse_image_name(text: str) -> ImageName:
    """The parts of a full name. Raises InvalidArgument, with the whole name where
    a short one was given."""
    rest, at, digest = text.partition("@")
    if at:
        reason = check_digest(digest)
        if reason is not None:
            raise _bad(text, f"its digest: {reason}")
    head, slash, last = rest.rpartition("/")
    last, colon, tag = last.partition(":")
    host, _, path = f"{head}{slash}{last}".partition("/")
    if "://" in text:
        raise _bad(text, "a name has no scheme in front; leave it out")
    if not slash or not _is_host(host):
        short = f"{head}{slash}{last}"
        full = f"docker.io/{short}" if slash else f"docker.io/library/{short}"
        full += f":{tag}" if tag else "" if at else ":latest"
        full += f"@{digest}" if at else ""
        raise _bad(text, f"a registry must stand in front, as in {full}")
    if not re.match(_HOST, host):
        raise _bad(text, f'"{host}" is no host')
    if not re.match(_PATH, path):
        raise _bad(
            text,
            f'"{path}" must be lower-case letters and digits, joined by . _ - and /',
        )
    if colon and not re.match(_TAG, tag):
        raise _bad(text, f'"{tag}" is no tag')
    if len(host) + 1 + len(path) > MAX_NAME:
        raise _bad(text, f"host and path have more than {MAX_NAME} characters")
    if not tag and not digest:
        raise _bad(text, f"it needs a tag or a digest, as in {text}:latest")
    return ImageName(host=host, path=path, tag=tag, digest=digest)


def _is_host(text: str) -> bool:
    return text == "localhost" or any(mark in text for mark in ".:[")


def _bad(text: str, why: str) -> InvalidArgument:
    return InvalidArgument(f'image name "{text}": {why}: invalid argument')
