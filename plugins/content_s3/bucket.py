# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""One prefix of one bucket: the requests that the store makes, each in a thread.

The library signs, keeps connections, and sends again what failed for a reason that may
pass. It is obstore and not boto3: one wheel, 25 ms to import rather than 260, parts sent
concurrently, and plain calls that run in threads beside trio. Only this file and
`credentials` know it. Keys are relative to the prefix.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import obstore
import trio
import trio.from_thread
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import S3Store

from pluggd.errors import FailedPrecondition, PluggdError, Unavailable

from .config import Config
from .credentials import FileCredentials
from .trouble import Health, request_error

if TYPE_CHECKING:
    from obstore.store import S3Config

T = TypeVar("T")

PARTS = 9000
"""S3 takes 10000 parts of one object."""

CONCURRENT_PARTS = 4


class Missing(Exception):
    """There is no such object."""


class Object(NamedTuple):
    """What a request tells of an object. size: in bytes, of the whole of it."""

    key: str
    size: int
    etag: str


class Stopped(Exception):
    """Nobody waits for this upload any more."""


def open_store(config: Config) -> S3Store:
    signing: S3Config = {
        "region": config.region,
        "virtual_hosted_style_request": config.virtual_hosted,
    }
    if config.endpoint:
        signing["endpoint"] = config.endpoint
    return S3Store(
        config.bucket,
        prefix=config.prefix or None,
        config=signing,
        client_options={
            "allow_http": config.endpoint.startswith("http://"),
            "connect_timeout": timedelta(seconds=config.connect_timeout),
            "timeout": timedelta(seconds=config.timeout),
        },
        retry_config={
            "max_retries": config.retries,
            "retry_timeout": timedelta(seconds=config.timeout * (config.retries + 1)),
        },
        credential_provider=FileCredentials(config.credentials_file, config.profile)
        if config.credentials_file
        else None,
    )


class Bucket:
    """Raises Unavailable when the object store cannot be reached or refuses, and
    FailedPrecondition when there is no such bucket; `health` knows of either."""

    def __init__(self, config: Config, health: Health) -> None:
        place = f"s3://{config.bucket}"
        self.place = f"{place}/{config.prefix}" if config.prefix else place
        self.where = (
            f"{self.place} at {config.endpoint}" if config.endpoint else self.place
        )
        self.part_size = config.part_size
        self._store = open_store(config)
        self._health = health
        self._limiter = trio.CapacityLimiter(config.requests)

    async def _ask(
        self, doing: str, work: Callable[[], T], *, abandon: bool = False
    ) -> T:
        """abandon: a cancelled caller does not wait for the answer."""
        try:
            result = await trio.to_thread.run_sync(
                work, limiter=self._limiter, abandon_on_cancel=abandon
            )
        except (FileNotFoundError, BaseError, PluggdError) as error:
            if isinstance(error, FileNotFoundError) and "NoSuchBucket" not in str(
                error
            ):
                self._health.well()
                raise Missing(doing) from None
            found = (
                error
                if isinstance(error, PluggdError)
                else request_error(error, self.where, doing)
            )
            if isinstance(found, Unavailable | FailedPrecondition):
                self._health.trouble(found)
            if found is error:
                raise
            # The library's error quotes whole answers; it is said in few words above.
            raise found from None
        self._health.well()
        return result

    async def get(self, key: str, start: int, length: int) -> tuple[bytes, Object]:
        """Up to `length` bytes from `start`. Raises Missing; DataLoss when the object
        ends before `start`."""

        def work() -> tuple[bytes, Object]:
            answer = obstore.get(
                self._store, key, options={"range": (start, start + length)}
            )
            meta = answer.meta
            found = Object(key, meta["size"], meta["e_tag"] or "")
            return answer.bytes().to_bytes(), found

        return await self._ask(f"get {key}", work, abandon=True)

    async def text(self, key: str) -> str:
        """A small object. Raises Missing."""

        def work() -> str:
            return obstore.get(self._store, key).bytes().to_bytes().decode()

        return await self._ask(f"get {key}", work, abandon=True)

    async def head(self, key: str) -> Object:
        """Raises Missing, also when the whole bucket is."""

        def work() -> Object:
            meta = obstore.head(self._store, key)
            return Object(key, meta["size"], meta["e_tag"] or "")

        return await self._ask(f"look at {key}", work, abandon=True)

    async def put(self, key: str, data: bytes) -> None:
        await self._write(
            f"put {key}",
            lambda: obstore.put(self._store, key, data, use_multipart=False),
        )

    async def create(self, key: str, data: bytes) -> None:
        """Put an object unless there is one, as far as this store can tell."""

        def work() -> None:
            try:
                obstore.put(self._store, key, data, mode="create")
            except AlreadyExistsError:
                pass
            except BaseError as error:
                if "NotImplemented" not in str(error):
                    raise
                obstore.put(self._store, key, data)

        await self._write(f"put {key}", work)

    async def upload(self, key: str, path: str, size: int) -> None:
        """Make an object of a file, in parts. A cancelled caller waits for those that
        are on their way, and leaves no object."""
        stop, over = threading.Event(), trio.Event()
        token = trio.lowlevel.current_trio_token()
        part = max(self.part_size, size // PARTS + 1)

        def pieces() -> Iterator[bytes]:
            with open(path, "rb") as stream:
                while piece := stream.read(part):
                    if stop.is_set():
                        raise Stopped
                    yield piece

        def work() -> None:
            try:
                obstore.put(
                    self._store,
                    key,
                    pieces(),
                    use_multipart=True,
                    chunk_size=part,
                    max_concurrency=CONCURRENT_PARTS,
                )
            finally:
                trio.from_thread.run_sync(over.set, trio_token=token)

        try:
            await self._ask(f"put {key}", work, abandon=True)
        except trio.Cancelled:
            stop.set()
            with trio.CancelScope(shield=True):
                await over.wait()
            raise

    async def delete(self, keys: Sequence[str]) -> None:
        """Those that are there."""
        if keys:
            await self._write(
                f"delete {keys[0]}"
                + (f" and {len(keys) - 1} more" if keys[1:] else ""),
                lambda: obstore.delete(self._store, list(keys)),
            )

    async def list(self, prefix: str) -> list[Object]:
        """All objects below a prefix."""

        def work() -> list[Object]:
            pages = obstore.list(  # pyright: ignore[reportUnknownMemberType] - arrow
                self._store, prefix=prefix
            )
            return [
                Object(meta["path"], meta["size"], meta["e_tag"] or "")
                for page in pages
                for meta in page
            ]

        return await self._ask(f"list {prefix}", work, abandon=True)

    async def _write(self, doing: str, work: Callable[[], object]) -> None:
        try:
            await self._ask(doing, work)
        except Missing:
            raise Unavailable(
                f"{self.where}: {doing}: not found: unavailable"
            ) from None
