# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What is compared, and what has to be reached: one row each.

The only place that knows which bench of the load generator stands for which line of
the table. It measures nothing.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """A figure of pluggd beside the same figure of containerd.

    bench: of the generator; peer: the bench of containerd, when it is another one.
    field: of the result; "value" for single figures. lower: whether less is better.
    floor: the least factor by which pluggd has to be better, or the most by which it may
    be worse (`limit`); 0: shown only. own: compared with pluggd itself, not the peer.
    """

    group: str
    label: str
    bench: str
    clients: int = 1
    field: str = "ops_per_s"
    unit: str = "/s"
    peer: str = ""
    peer_clients: int = 0
    lower: bool = False
    floor: float = 0.0
    limit: float = 0.0
    own: bool = False

    @property
    def other(self) -> tuple[str, int]:
        return self.peer or self.bench, self.peer_clients or self.clients

    def ratio(self, pluggd: float, peer: float) -> float:
        """More is better, except for rows with a limit: there it is "times as much"."""
        if self.lower and not self.limit:
            return peer / pluggd
        return pluggd / peer

    def met(self, ratio: float) -> bool | None:
        if self.floor:
            return ratio >= self.floor
        if self.limit:
            return ratio <= self.limit
        return None

    @property
    def required(self) -> str:
        if self.floor:
            return f">= {self.floor:g} x"
        if self.limit:
            return f"<= {self.limit:g} x"
        return ""


ROWS = [
    Row("images", "image create, durable, 1 client", "image_create", 1, floor=1.1),
    Row("images", "image create, durable, 64 clients", "image_create", 64, floor=8),
    Row("images", "image update, durable, 1 client", "image_update", 1, floor=1.1),
    Row("images", "image update, durable, 64 clients", "image_update", 64, floor=8),
    Row("images", "image get, 1 client", "image_get", 1, floor=1.5),
    Row("images", "image get, 64 clients", "image_get", 64, floor=2.5),
    Row("images", "list of 1,000 images, 1 client", "image_list_1000", 1, floor=2.5),
    Row("images", "image delete, 64 clients", "image_delete_async", 64),
    Row("images", "synchronous delete, 1 client", "image_delete_sync", 1, floor=3),
    Row("content", "write 4 KiB, 1 client", "content_write_4k", 1, floor=3),
    Row("content", "write 4 KiB, 8 clients", "content_write_4k", 8, floor=6),
    Row("content", "the same in one message, 1 client", "content_write_4k_1msg", 1),
    Row("content", "the same in one message, 8 clients", "content_write_4k_1msg", 8),
    Row(
        "content",
        "write 64 MiB in messages",
        "content_write_64m",
        field="mb_per_s",
        unit="MB/s",
        floor=2,
    ),
    Row(
        "content",
        "write 64 MiB by descriptor",
        "content_write_64m_fd",
        field="mb_per_s",
        unit="MB/s",
        peer="content_write_64m",
        floor=3.5,
    ),
    Row(
        "content",
        "read 1 GiB in messages",
        "content_read_1g",
        field="mb_per_s",
        unit="MB/s",
        floor=1.5,
    ),
    Row(
        "content",
        "read 1 GiB by descriptor",
        "content_read_1g_fd",
        field="mb_per_s",
        unit="MB/s",
        peer="content_read_1g",
        floor=15,
    ),
    Row(
        "events",
        "events, 8 publishers, 1 subscriber, durable",
        "event_fanout_1sub",
        8,
        floor=0.4,
    ),
    Row(
        "events",
        "the same, publishing without waiting",
        "event_fanout_1sub_nowait",
        8,
        peer="event_fanout_1sub",
        floor=1.5,
    ),
    Row(
        "events",
        "events, 64 publishers, 100 subscribers, durable",
        "event_fanout_100sub",
        64,
        field="deliveries_per_s",
        unit="deliveries/s",
        floor=4,
    ),
    Row(
        "gc",
        "synchronous delete among {blobs} blobs",
        "gc_{size}",
        field="p50_us",
        unit="us",
        lower=True,
        floor=20,
    ),
    Row(
        "gc",
        "p99 of updates meanwhile, to their quiet p99",
        "image_update_during_gc_{size}",
        field="p99_us",
        unit="us",
        peer="image_update_quiet_{size}",
        lower=True,
        limit=2,
        own=True,
    ),
    Row(
        "pull",
        "pull and unpack 200 MB",
        "pull_unpack_200m",
        field="value",
        unit="s",
        lower=True,
        floor=1,
    ),
    Row(
        "pull",
        "peak memory of the daemon meanwhile, above before",
        "pull_memory_200m",
        field="value",
        unit="MiB",
        lower=True,
    ),
    Row(
        "start",
        "exec to first answer",
        "start_to_first_rpc_empty",
        field="value",
        unit="ms",
        lower=True,
        limit=5,
    ),
    Row(
        "start",
        "memory when idle (RSS)",
        "rss_idle",
        field="value",
        unit="MiB",
        lower=True,
        limit=1.2,
    ),
    Row(
        "start",
        "memory after 10,000 images (RSS)",
        "rss_after_10k",
        field="value",
        unit="MiB",
        lower=True,
        limit=0.7,
    ),
    Row("namespaces", "namespace create, 64 clients", "namespace_create", 64),
    Row("namespaces", "list of 100 namespaces", "namespace_list_100", 1),
    Row("containers", "container create, 64 clients", "container_create", 64),
    Row("containers", "container get, 64 clients", "container_get", 64),
    Row("introspection", "version, 1 client", "version", 1),
    Row("introspection", "version, 64 clients", "version", 64),
]

LIMITS = [
    ("image get, p50", "image_get", 1, "raw_unix_echo_64b", "echo on a socket"),
    (
        "image create, p50",
        "image_create",
        1,
        "raw_btree_commit_2x_fdatasync",
        "two flushes",
    ),
    (
        "4 KiB blob in one message, p50",
        "content_write_4k_1msg",
        1,
        "raw_blob_4k_create_fsync_rename",
        "a durable file of 4 KiB",
    ),
]
"""Figures of pluggd beside what the machine needs for the same without a daemon."""


def rows_of(groups: list[str], blobs: int) -> list[Row]:
    """The rows of some groups, with the size of the collection filled in."""
    size = {1000: "1k", 10000: "10k", 100000: "100k"}.get(blobs, str(blobs))
    found: list[Row] = []
    for row in ROWS:
        if row.group not in groups:
            continue
        values = dict(vars(row))
        for name in ("label", "bench", "peer"):
            values[name] = values[name].format(size=size, blobs=f"{blobs:,}")
        if row.bench == "gc_{size}" and blobs < 100000:
            values["floor"] = 0.0  # what is asked for grows with the store
        found.append(Row(**values))
    return found
