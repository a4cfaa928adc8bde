# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The options of the content store in a bucket, as an operator writes them."""

from __future__ import annotations

from pluggd.contents.options import Options
from pluggd.errors import InvalidArgument

MIB = 1 << 20
MIN_PART = 5 * MIB
MAX_PART = 512 * MIB


class Config(Options, frozen=True):
    """Section `[plugins."pluggd.content.v1.s3"]` of config.toml."""

    bucket: str = ""
    """The bucket, which exists. Without one the plugin is skipped. Default ""."""

    prefix: str = "pluggd"
    """What the keys of this store's objects begin with; one store to a prefix.
    Default "pluggd"."""

    endpoint: str = ""
    """URL of the object store, as in "https://minio.example:9000"; "" for that of AWS in
    `region`. Default ""."""

    region: str = "us-east-1"
    """The region that requests are signed for. Default "us-east-1"."""

    virtual_hosted: bool = False
    """Whether the bucket is in the host name of requests instead of in their path; then
    it is part of `endpoint`, where that is given. Default false."""

    credentials_file: str = ""
    """A file with keys as AWS tools write it (`[profile]`, `aws_access_key_id`,
    `aws_secret_access_key`, `aws_session_token`); read anew every five minutes. "" for
    the environment (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, ...), then for what
    the cloud says this machine or pod is. Default ""."""

    profile: str = "default"
    """The section of `credentials_file`. Default "default"."""

    connect_timeout: float = 5.0
    """Seconds for one connection. Default 5."""

    timeout: float = 30.0
    """Seconds for one request with all its bytes, at most `part_size`. Default 30."""

    retries: int = 3
    """How often a request is sent again that failed for a reason that may pass, after
    0.1 s, then longer and longer. Default 3."""

    max_inline: int = 0
    """Bytes up to which a blob has no object: it lies in the metadata store, in the
    transaction of its record, and costs no request; 0 to 65536. What is stored stays
    where it is when this changes. Default 0: the bucket has all blobs."""

    requests: int = 16
    """Requests at a time, at most; each takes a thread. Default 16."""

    part_size: int = 8 * MIB
    """Bytes in one request: larger blobs are sent and read in parts, up to four at a time
    in memory while one is sent. 5 MiB to 512 MiB. Default 8388608."""

    def __post_init__(self) -> None:
        """Raises InvalidArgument naming the key, its value and its range."""
        super().__post_init__()
        if self.endpoint and not self.endpoint.startswith(("https://", "http://")):
            raise InvalidArgument(
                f'endpoint = "{self.endpoint}": must begin with https:// or http://: '
                f"invalid argument"
            )
        for key in ("connect_timeout", "timeout"):
            value = getattr(self, key)
            if not 0 < value < float("inf"):
                raise InvalidArgument(
                    f"{key} = {value}: must be more than 0: invalid argument"
                )
        if self.retries < 0:
            raise InvalidArgument(
                f"retries = {self.retries}: must not be negative: invalid argument"
            )
        if self.requests < 1:
            raise InvalidArgument(
                f"requests = {self.requests}: must be at least 1: invalid argument"
            )
        if not MIN_PART <= self.part_size <= MAX_PART:
            raise InvalidArgument(
                f"part_size = {self.part_size}: must be from {MIN_PART} to {MAX_PART} "
                f"bytes: invalid argument"
            )
