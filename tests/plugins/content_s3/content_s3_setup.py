# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The content plugin over a bucket, started by hand over any metadata store."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from pluggd.model.record import convert
from pluggd.services.content import Content
from pluggd.services.metadata import METADATA, Metadata
from pluggd.testing import FakeContext, started
from plugins.content_s3.config import Config
from plugins.content_s3.registration import pluggd_register
from tests.plugins.content_s3.s3_server import BUCKET, KEY, S3Server
from tests.plugins.content_s3.swift_server import SwiftServer

Server = S3Server | SwiftServer


def credentials(directory: Path, key: str = KEY, secret: str = KEY) -> str:
    file = directory / "credentials"
    file.write_text(
        f"[default]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n"
    )
    return str(file)


def options(server: Server, **more: object) -> dict[str, Any]:
    """The section of config.toml."""
    return {
        "bucket": BUCKET,
        "endpoint": server.endpoint,
        "credentials_file": credentials(
            server.directory.parent, server.key, server.secret
        ),
        "retries": 1,
        **more,
    }


@asynccontextmanager
async def started_s3(
    server: Server, root: Path, metadata: Metadata, **more: object
) -> AsyncGenerator[tuple[Content, FakeContext[Config]]]:
    await trio.Path(root).mkdir(parents=True, exist_ok=True)
    config = convert(options(server, **more), Config)
    kinds = {METADATA: metadata}
    async with started(pluggd_register(), kinds, config, root) as (content, context):
        yield content, context
