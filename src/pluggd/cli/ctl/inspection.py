# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Looking behind the names of images: sizes, platforms, trees, completeness.

Here the commands of `images` meet `model.imageinfo`; it is a module of its own
because it needs the models, which the other commands start without.
"""

from __future__ import annotations

from typing import Any

import click

from pluggd.cli.ctl.app import App, Fields
from pluggd.cli.ctl.output import clean, json_document, labels, out, size, table
from pluggd.client.plain import is_map
from pluggd.errors import DataLoss, InvalidArgument, NotFound, NotImplemented_
from pluggd.model import oci
from pluggd.model.imageinfo import ImageInfo, Node
from pluggd.model.platforms import describe
from pluggd.model.record import convert, decode_json
from pluggd.model.types import Descriptor

STATES = 500
"""Images that are asked about at once; an answer is some 500 bytes for each."""


def reader(app: App, namespace: str | None = None) -> ImageInfo:
    """Reads manifests from a namespace, that of the command line if None."""

    def read(digest: str, length: int) -> bytes:
        data = b""
        while True:
            chunk: bytes = app.call(
                "content.v1.read",
                {"digest": digest, "offset": len(data), "size": length - len(data)},
                namespace=namespace,
            ).get("data", b"")
            data += chunk
            if not chunk or len(data) >= length:
                return data

    return ImageInfo(read)


def target_of(image: Fields) -> Descriptor:
    return convert(image.get("target") or {}, Descriptor)


def states(app: App, images: list[Fields]) -> dict[str, Fields]:
    """What the daemon says of each image that is still there: `status`, `unpacked`,
    and more (`ImageState`). Empty when it has no plugin that knows."""
    found: dict[str, Fields] = {}
    names = [image["name"] for image in images]
    for start in range(0, len(names), STATES):
        try:
            answer = app.call(
                "unpack.v1.check", {"names": names[start : start + STATES]}
            )
        except NotImplemented_:
            return {}
        except NotFound:
            answer = app.call("unpack.v1.check")  # one went since it was listed
        found |= {state["name"]: state for state in answer.get("images", [])}
    return found


def summaries(app: App, images: list[Fields]) -> list[Fields]:
    """The images with `size` in bytes and `platforms`; unreadable ones have none. With
    `status` and `unpacked` where the daemon says so."""
    info = reader(app)
    known = states(app, images)
    found: list[Fields] = []
    for image in images:
        target = target_of(image)
        try:
            platforms = [describe(one) for one in info.platforms(target)]
        except (NotFound, InvalidArgument):
            platforms = []
        row = {**image, "size": info.size(target), "platforms": platforms}
        if state := known.get(image["name"]):
            row["status"] = state.get("status", "")
            row["unpacked"] = state.get("unpacked", [])
        found.append(row)
    return found


def inspect(app: App, image: Fields) -> None:
    """Show one image as a tree, or as JSON."""
    info = reader(app)
    nodes = list(info.walk(target_of(image)))
    if app.json:
        root = _as_json(info, nodes)
        json_document({"image": image, "tree": root})
        return
    out(clean(image["name"]))
    if image.get("labels"):
        out(f"labels: {clean(labels(image['labels']))}")
    for number, node in enumerate(nodes):
        out(_lead(nodes, number) + _line(info, node))


def check(app: App, images: list[Fields], *, quiet: bool) -> None:
    """Show whether each image is complete. Raises Exit(1) when one is not."""
    info = reader(app)

    def exists(digest: str) -> bool:
        try:
            app.call("content.v1.info", {"digest": digest})
        except NotFound:
            return False
        return True

    known = states(app, images)
    rows: list[Fields] = []
    for image in images:
        target = target_of(image)
        row: Fields = {"name": image["name"], "target": image.get("target") or {}}
        try:
            found = info.check(target, exists)
        except (InvalidArgument, DataLoss) as error:
            row |= {"status": "error", "error": str(error)}
        else:
            lost = {one.digest for one in found.missing}
            row |= {
                "status": _status(found.available, found.complete),
                "required": len(found.required) if found.available else 0,
                "present": len(found.required) - len(found.missing),
                "size": sum(one.size for one in found.required),
                "present_size": sum(
                    one.size for one in found.required if one.digest not in lost
                ),
                "missing": sorted(lost),
            }
        if state := known.get(image["name"]):
            row["chain_id"] = state.get("chain_id", "")
            row["unpacked"] = state.get("unpacked", [])
        rows.append(row)
    if app.json:
        json_document(rows)
    elif quiet:
        for row in rows:
            if row["status"] == "complete":
                out(clean(row["name"]))
    else:
        table(
            ("REF", "TYPE", "DIGEST", "STATUS", "SIZE", "UNPACKED"),
            [
                (
                    row["name"],
                    row["target"].get("media_type", ""),
                    row["target"].get("digest", ""),
                    *_shown(row),
                    ",".join(row.get("unpacked", ())) or "-",
                )
                for row in rows
            ],
        )
    if any(row["status"] != "complete" for row in rows):
        raise click.exceptions.Exit(1)


def _status(available: bool, complete: bool) -> str:
    if not available:
        return "unavailable"
    return "complete" if complete else "incomplete"


def _shown(row: Fields) -> tuple[str, str]:
    match row["status"]:
        case "error":
            return f"error: {row['error']}", "-"
        case "unavailable":
            return "unavailable (0/?)", "0 B/?"
        case status:
            counts = f"{status} ({row['present']}/{row['required']})"
            return counts, f"{size(row['present_size'])}/{size(row['size'])}"


def _lead(nodes: list[Node], number: int) -> str:
    """The branches before a node: a line goes on where a sibling follows."""
    depth = nodes[number].depth
    parts: list[str] = []
    for level in range(1, depth + 1):
        follows = False
        for later in nodes[number + 1 :]:
            if later.depth <= level:
                follows = later.depth == level
                break
        if level == depth:
            parts.append("├── " if follows else "└── ")
        else:
            parts.append("│   " if follows else "    ")
    return "".join(parts)


def _kind(media_type: str) -> str:
    if oci.is_index(media_type):
        return "index"
    if oci.is_manifest(media_type):
        return "manifest"
    if media_type in oci.CONFIGS:
        return "config"
    return "layer" if oci.is_layer(media_type) else "blob"


def _line(info: ImageInfo, node: Node) -> str:
    one = node.descriptor
    words = [_kind(one.media_type)]
    if node.platform is not None:
        words.append(describe(node.platform))
    words += [one.digest, size(one.size), one.media_type]
    text = " ".join(word for word in words if word)
    if not node.here:
        text += " (not here)"
    if one.annotations:
        text += f" [{labels(one.annotations)}]"
    config = _config(info, node)
    if is_map(config):
        shown = [
            f"{key}={config[key]}"
            for key in ("os", "architecture", "variant", "created")
            if config.get(key)
        ]
        text += f" {{{', '.join(shown)}}}" if shown else ""
    return clean(text)


def _config(info: ImageInfo, node: Node) -> object:
    """The configuration as JSON has it; None where there is none, or none to read."""
    if node.descriptor.media_type not in oci.CONFIGS:
        return None
    try:
        return decode_json(
            info.blob(node.descriptor), dict[str, Any], node.descriptor.digest
        )
    except (NotFound, InvalidArgument):
        return None


def _as_json(info: ImageInfo, nodes: list[Node]) -> Fields:
    stack: list[Fields] = []
    for node in nodes:
        one = node.descriptor
        entry: Fields = {
            "kind": _kind(one.media_type),
            "media_type": one.media_type,
            "digest": one.digest,
            "size": one.size,
            "here": node.here,
        }
        if one.annotations:
            entry["annotations"] = one.annotations
        if node.platform is not None:
            entry["platform"] = describe(node.platform)
        config = _config(info, node)
        if config is not None:
            entry["config"] = config
        del stack[node.depth :]
        if stack:
            stack[-1].setdefault("children", []).append(entry)
        stack.append(entry)
    return stack[0]
