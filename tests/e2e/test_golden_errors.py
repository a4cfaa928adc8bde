# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Bad input over the socket: each gets its class and text, and changes nothing.

The texts are containerd's, which its users and their scripts know. Where ours say more,
`golden` has containerd's, and must be part of ours; where containerd's is a defect (a doubled
suffix, no class, no name), `golden` is empty and the comment says why.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from tests.e2e.raw_socket import DaemonProcess, RawSocket, Refusal, daemon_process
from tests.plugins.tasks.kit import why_not

BLOB = b"0123456789"
DIGEST = f"sha256:{hashlib.sha256(BLOB).hexdigest()}"
PART = BLOB[:5]
PART_DIGEST = f"sha256:{hashlib.sha256(PART).hexdigest()}"
ABSENT = "sha256:" + "a" * 64
TARGET = {"media_type": "application/x", "digest": DIGEST, "size": 10}
SPEC: dict[str, Any] = {"type_url": "spec", "value": {}}
RUNTIME = {"name": "runc"}
IDENTIFIER = r"^[A-Za-z0-9]+(?:[._-](?:[A-Za-z0-9]+))*$"

INVALID = "invalid_argument"
NOT_FOUND = "not_found"
EXISTS = "already_exists"
PRECONDITION = "failed_precondition"
RANGE = "out_of_range"
UNIMPLEMENTED = "not_implemented"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """A daemon that has one of everything, and collects only when it is asked."""
    directory = tmp_path_factory.mktemp("golden")
    config = (
        '[plugins."pluggd.gc.v1.scheduler"]\n'
        'startup_delay = "0ms"\nmutation_threshold = 0\n'
    )
    with daemon_process(directory, config) as running:
        with running.connect("ns") as raw:
            raw.result("images.v1.create", {"image": {"name": "b", "target": TARGET}})
            blob = {"ref": "w", "action": "commit", "data": BLOB}
            raw.result("content.v1.write", blob)
            raw.result("content.v1.write", {"ref": "r1", "data": PART})
            container: dict[str, Any] = {"id": "c", "spec": SPEC, "runtime": RUNTIME}
            raw.result("containers.v1.create", {"container": container})
            raw.result("leases.v1.create", {"id": "l1"})
            kept = {"labels": {"containerd.io/gc.root": "1"}}
            for method, snapshot in (
                ("prepare", {"key": "base"}),
                ("commit", {"key": "base", "name": "fixed"}),
                ("prepare", {"key": "active"}),
                ("view", {"key": "seen", "parent": "fixed"}),
            ):
                raw.result(f"snapshots.v1.{method}", {**snapshot, **kept})
        yield running


def state(daemon: DaemonProcess) -> list[Any]:
    """All there is to see, but for what counts the calls."""
    with daemon.connect("ns") as raw:
        plugins = raw.result("introspection.v1.plugins")["plugins"]
        for plugin in plugins:
            plugin.pop("calls", None)
            plugin.pop("errors", None)
        return [
            *(raw.result(f"{service}.v1.list") for service in LISTED),
            raw.result("content.v1.list_statuses"),
            raw.result("leases.v1.list_resources", {"id": "l1"}),
            raw.result("events.v1.bounds"),
            plugins,
            daemon.files(),
        ]


LISTED = ("images", "content", "containers", "leases", "namespaces", "snapshots")


class Row(NamedTuple):
    """One bad request. metadata: beside the namespace "ns". golden: see above."""

    name: str
    method: str
    arguments: Any
    code: str
    text: str
    metadata: dict[str, Any] = {}
    golden: str | None = None


def image(**changes: Any) -> dict[str, Any]:
    return {"image": {"name": "new", "target": TARGET, **changes}}


def target(**changes: Any) -> dict[str, Any]:
    return image(target={**TARGET, **changes})


def container(**changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = {"id": "new", "spec": SPEC, "runtime": RUNTIME}
    return {"container": {**base, **changes}}


def resource(type_: str, id_: str, lease: str = "l1") -> dict[str, Any]:
    return {"id": lease, "resource": {"type": type_, "id": id_}}


IN = ": invalid argument"
CREATE_CONTAINER = "create container failed validation: "
LONG_LABEL = (
    ": label key and value length (4100 bytes) greater than maximum size (4096 bytes), "
    f"key: {'k' * 64}{IN}"
)
LONG = {"k" * 100: "v" * 4000}

NAMESPACES = [
    Row("none", "images.v1.list", {}, PRECONDITION,
        "namespace is required: failed precondition", {"namespace": ""}),
    Row("bad", "images.v1.list", {}, INVALID,
        f'namespace validation: identifier "bad ns!" must match {IDENTIFIER}{IN}',
        {"namespace": "bad ns!"}),
    Row("too long", "images.v1.create", image(), INVALID,
        f'namespace validation: identifier "{"a" * 77}" greater than maximum length '
        f"(76 characters){IN}", {"namespace": "a" * 77}),
    Row("with a line end", "images.v1.create", image(), INVALID,
        f'namespace validation: identifier "ns\n" must match {IDENTIFIER}{IN}',
        {"namespace": "ns\n"}),
    Row("create bad", "namespaces.v1.create", {"namespace": {"name": "a--b"}}, INVALID,
        f'identifier "a--b" must match {IDENTIFIER}{IN}'),
    Row("create empty", "namespaces.v1.create", {"namespace": {}}, INVALID,
        f"identifier must not be empty{IN}"),
    Row("create twice", "namespaces.v1.create", {"namespace": {"name": "ns"}}, EXISTS,
        'namespace "ns": already exists'),
    Row("create label", "namespaces.v1.create",
        {"namespace": {"name": "new", "labels": LONG}}, INVALID,
        f"namespace.Labels{LONG_LABEL}"),
    Row("absent", "namespaces.v1.get", {"name": "x"}, NOT_FOUND,
        'namespace "x": not found'),
    # containerd creates it.
    Row("update absent", "namespaces.v1.update", {"namespace": {"name": "x"}}, NOT_FOUND,
        'namespace "x": not found', golden=""),
    Row("delete absent", "namespaces.v1.delete", {"name": "x"}, NOT_FOUND,
        'namespace "x": not found'),
    Row("delete full", "namespaces.v1.delete", {"name": "ns"}, PRECONDITION,
        'namespace "ns" must be empty, but it still has images, blobs, containers, '
        "snapshots on "),
]  # fmt: skip

IMAGES = [
    Row("get absent", "images.v1.get", {"name": "nope"}, NOT_FOUND,
        'image "nope": not found'),
    Row("get empty", "images.v1.get", {"name": ""}, NOT_FOUND, 'image "": not found'),
    Row("create empty", "images.v1.create", image(name=""), INVALID,
        "Image.Name required"),
    Row("no target", "images.v1.create", image(target={}), INVALID,
        f'Target.Digest "" invalid: invalid checksum digest format{IN}'),
    Row("short digest", "images.v1.create", target(digest="sha256:zz"), INVALID,
        f'Target.Digest "sha256:zz" invalid: invalid checksum digest length{IN}'),
    Row("upper case", "images.v1.create", target(digest="sha256:" + "A" * 64), INVALID,
        f'Target.Digest "sha256:{"A" * 64}" invalid: invalid checksum digest format{IN}'),
    Row("md5", "images.v1.create", target(digest="md5:" + "a" * 32), INVALID,
        f'Target.Digest "md5:{"a" * 32}" invalid: unsupported digest algorithm{IN}'),
    Row("path in a digest", "images.v1.create", target(digest="sha256:../../x"), INVALID,
        f'Target.Digest "sha256:../../x" invalid: invalid checksum digest format{IN}'),
    Row("size 0", "images.v1.create", target(size=0), INVALID,
        f"Target.Size must be greater than zero{IN}"),
    Row("size -1", "images.v1.create", target(size=-1), INVALID,
        f"Target.Size must be greater than zero{IN}"),
    Row("no type", "images.v1.create", target(media_type=""), INVALID,
        f"Target.MediaType must be set{IN}"),
    # containerd before 2 cuts the key to 10 and does not tell the length.
    Row("long label", "images.v1.create", image(labels=LONG), INVALID,
        f"image.Labels{LONG_LABEL}", golden=""),
    Row("empty label key", "images.v1.create", image(labels={"": "v"}), INVALID,
        f"image.Labels: label key must not be empty{IN}", golden=""),
    Row("duplicate", "images.v1.create", image(name="b"), EXISTS,
        'image "b": already exists'),
    Row("mask bogus", "images.v1.update", image(name="b") | {"fields": ["bogus"]},
        INVALID, f'cannot update "bogus" field on image "b"{IN}'),
    Row("mask part of target", "images.v1.update",
        image(name="b") | {"fields": ["labels", "target.digest"]}, INVALID,
        f'cannot update "target.digest" field on image "b"{IN}'),
    Row("mask name", "images.v1.update", image(name="b") | {"fields": ["name"]}, INVALID,
        f'cannot update "name" field on image "b"{IN}'),
    Row("update empty", "images.v1.update", image(name=""), INVALID,
        "Image.Name required"),
    Row("update absent", "images.v1.update", image(name="nope"), NOT_FOUND,
        'image "nope": not found'),
    Row("update without target", "images.v1.update", {"image": {"name": "b"}}, INVALID,
        f'Target.Digest "" invalid: invalid checksum digest format{IN}'),
    Row("delete absent", "images.v1.delete", {"name": "nope"}, NOT_FOUND,
        'image "nope": not found'),
    Row("delete absent and wait", "images.v1.delete", {"name": "nope", "sync": True},
        NOT_FOUND, 'image "nope": not found'),
    Row("delete another target", "images.v1.delete", {"name": "b", "target": ABSENT},
        NOT_FOUND, f'image "b" has target {DIGEST}, not {ABSENT}: not found'),
    # containerd doubles the suffix.
    Row("filter value", "images.v1.list", {"filters": ["name=="]}, INVALID,
        f"filters: parse error: [name==]: expected value or quoted{IN}"),
    Row("filter operator", "images.v1.list", {"filters": ["name===x"]}, INVALID,
        f'filters: parse error: [name >|=|< ==x]: unsupported operator "==="{IN}'),
    Row("limit", "images.v1.list", {"limit": -1}, INVALID,
        f"limit -1 must not be negative{IN}"),
]  # fmt: skip

CONTENT = [
    Row("info zz", "content.v1.info", {"digest": "zz"}, INVALID,
        f'"zz" failed validation: invalid checksum digest format{IN}',
        golden='"zz" failed validation'),
    Row("info absent", "content.v1.info", {"digest": ABSENT}, NOT_FOUND,
        f"content digest {ABSENT}: not found"),
    Row("info of another namespace", "content.v1.info", {"digest": DIGEST}, NOT_FOUND,
        f"content digest {DIGEST}: not found", {"namespace": "other"}),
    Row("mask size", "content.v1.update",
        {"info": {"digest": DIGEST, "size": 3}, "fields": ["size"]}, INVALID,
        f'cannot update "size" field on content info "{DIGEST}"{IN}'),
    Row("update absent", "content.v1.update", {"info": {"digest": ABSENT}}, NOT_FOUND,
        f"content digest {ABSENT}: not found"),
    Row("read past the end", "content.v1.read", {"digest": DIGEST, "offset": 11}, RANGE,
        "read past object length 10 bytes"),
    Row("read far past", "content.v1.read", {"digest": DIGEST, "offset": 2**63 - 1},
        RANGE, "read past object length 10 bytes"),
    # containerd counts a negative offset as 0.
    Row("read before", "content.v1.read", {"digest": DIGEST, "offset": -1}, INVALID,
        f"offset -1 must not be negative{IN}"),
    Row("read x", "content.v1.read", {"digest": "x"}, INVALID,
        f"digest x: invalid checksum digest format{IN}",
        golden="x: invalid checksum digest format"),
    Row("fetch past the end", "content.v1.fetch", {"digest": DIGEST, "offset": 11},
        RANGE, "read past object length 10 bytes"),
    Row("delete x", "content.v1.delete", {"digest": "x"}, INVALID,
        f"digest x: invalid checksum digest format{IN}",
        golden="invalid checksum digest format"),
    Row("delete a path", "content.v1.delete", {"digest": "../../ingest"}, INVALID,
        f"digest ../../ingest: invalid checksum digest format{IN}"),
    Row("delete absent", "content.v1.delete", {"digest": ABSENT}, NOT_FOUND,
        f"content digest {ABSENT}: not found"),
    Row("status absent", "content.v1.status", {"ref": "r9"}, NOT_FOUND,
        'could not get status for ref "r9": reference r9: not found'),
    Row("abort absent", "content.v1.abort", {"ref": "nonexist"}, NOT_FOUND,
        "reference nonexist: not found"),
    Row("no ref", "content.v1.write", {"ref": "", "data": b"x"}, INVALID,
        f"first message must have a reference: ref must not be empty{IN}",
        golden="first message must have a reference"),
    Row("offset", "content.v1.write", {"ref": "r1", "offset": 3, "data": b"x"}, RANGE,
        "write @3 must occur at current offset 5"),
    Row("offset of nothing", "content.v1.write",
        {"ref": "new", "offset": 3, "data": b"x"}, RANGE,
        "write @3 must occur at current offset 0"),
    Row("negative offset", "content.v1.write", {"ref": "r1", "offset": -3, "data": b"x"},
        INVALID, f"offset -3 must not be negative{IN}"),
    Row("negative total", "content.v1.write", {"ref": "r1", "offset": 5, "total": -1},
        INVALID, f"total -1 must not be negative{IN}"),
    # containerd takes it when the writer opens and fails at the commit.
    Row("bad expected", "content.v1.write", {"ref": "new", "expected": "sha256:zz"},
        INVALID, f"digest sha256:zz: invalid checksum digest length{IN}"),
    Row("existing", "content.v1.write", {"ref": "r2", "expected": DIGEST}, EXISTS,
        f"content {DIGEST}: already exists"),
    Row("unknown lease", "content.v1.write", {"ref": "new", "data": b"x"}, NOT_FOUND,
        "lease does not exist: not found", {"lease": "nolease"}),
    Row("stat with data", "content.v1.write",
        {"ref": "r1", "action": "stat", "data": b"x"}, INVALID,
        f'action "stat" takes no data; use "write"{IN}'),
    Row("unknown action", "content.v1.write", {"ref": "r1", "action": "foo"}, INVALID,
        'content.v1.write: argument "action" is "foo", which is none of stat, write, '
        "commit"),
    Row("filter", "content.v1.list", {"filters": ["labels."]}, INVALID,
        f"filters: parse error: [labels.]: expected field or quoted{IN}"),
    Row("ingest filter", "content.v1.list_statuses", {"filters": ["ref=="]}, INVALID,
        f"filters: parse error: [ref==]: expected value or quoted{IN}"),
]  # fmt: skip

COMMITS = [
    Row("size", "content.v1.write",
        {"ref": "r1", "action": "commit", "offset": 5, "total": 11}, PRECONDITION,
        '"r1" failed size validation: 5 != 11: failed precondition'),
    Row("digest", "content.v1.write",
        {"ref": "r1", "action": "commit", "offset": 5, "expected": ABSENT}, PRECONDITION,
        f"unexpected commit digest {PART_DIGEST}, expected {ABSENT}: "
        "failed precondition"),
    Row("label", "content.v1.write",
        {"ref": "r1", "action": "commit", "offset": 5, "labels": LONG}, INVALID,
        f"content.Labels{LONG_LABEL}", golden=""),
]  # fmt: skip

CONTAINERS = [
    Row("no spec", "containers.v1.create", container(spec=None), INVALID,
        f"{CREATE_CONTAINER}container.Spec must be set{IN}"),
    Row("no runtime", "containers.v1.create", container(runtime={}), INVALID,
        f"{CREATE_CONTAINER}container.Runtime.Name must be set{IN}"),
    Row("key without snapshotter", "containers.v1.create", container(snapshot_key="k"),
        INVALID, f"{CREATE_CONTAINER}container.Snapshotter must be set if "
        f"container.SnapshotKey is set{IN}"),
    Row("bad id", "containers.v1.create", container(id="_x"), INVALID,
        f'{CREATE_CONTAINER}container.ID: identifier "_x" must match {IDENTIFIER}{IN}'),
    Row("extension", "containers.v1.create", container(extensions={"": SPEC}), INVALID,
        f"{CREATE_CONTAINER}container.Extension keys must not be zero-length{IN}"),
    Row("label", "containers.v1.create", container(labels=LONG), INVALID,
        f"{CREATE_CONTAINER}containers.Labels{LONG_LABEL}", golden=""),
    Row("duplicate", "containers.v1.create", container(id="c"), EXISTS,
        'container "c": already exists'),
    Row("absent", "containers.v1.get", {"id": "x"}, NOT_FOUND,
        'container "x" in namespace "ns": not found'),
    Row("delete absent", "containers.v1.delete", {"id": "x"}, NOT_FOUND,
        'container "x" in namespace "ns": not found'),
    Row("update absent", "containers.v1.update", container(id="x"), NOT_FOUND,
        'container "x" in namespace "ns": not found'),
    Row("update empty", "containers.v1.update", container(id=""), INVALID,
        "Container.ID required"),
    Row("another runtime", "containers.v1.update",
        container(id="c", runtime={"name": "crun"}), INVALID,
        f"container.Runtime.Name field is immutable{IN}"),
    Row("mask runtime", "containers.v1.update",
        container(id="c") | {"fields": ["runtime"]}, INVALID,
        f'cannot update "runtime" field on "c"{IN}'),
]  # fmt: skip

LEASES = [
    Row("duplicate", "leases.v1.create", {"id": "l1"}, EXISTS,
        'lease "l1": already exists'),
    Row("absent", "leases.v1.get", {"id": "zz"}, NOT_FOUND, 'lease "zz": not found'),
    Row("delete absent", "leases.v1.delete", {"id": "zz"}, NOT_FOUND,
        'lease "zz": not found'),
    Row("list of absent", "leases.v1.list_resources", {"id": "zz"}, NOT_FOUND,
        'lease "zz": not found'),
    Row("add to absent", "leases.v1.add_resource", resource("content", DIGEST, "zz"),
        NOT_FOUND, 'lease "zz": not found'),
    Row("no digest", "leases.v1.add_resource", resource("content", "zz"), INVALID,
        f"invalid content resource id zz: invalid checksum digest format{IN}",
        golden="invalid content resource id zz: "),
    Row("no snapshotter", "leases.v1.add_resource", resource("snapshots", "x"), INVALID,
        f"invalid snapshot resource type snapshots{IN}",
        golden="invalid snapshot resource type snapshots"),
    Row("containers", "leases.v1.add_resource", resource("containers", "x"),
        UNIMPLEMENTED, "resource type containers not supported yet: not implemented"),
    Row("no type", "leases.v1.add_resource", resource("", "x"), INVALID,
        "resource type must be content, images, ingests or snapshots/<snapshotter>"
        f"{IN}", golden=""),
    # containerd says unknown.
    Row("empty id", "leases.v1.add_resource", resource("ingests", ""), INVALID,
        f"ingests: resource id must not be empty{IN}", golden=""),
    # containerd does not look.
    Row("label", "leases.v1.create", {"id": "new", "labels": LONG}, INVALID,
        f"lease.Labels{LONG_LABEL}", golden=""),
    Row("expiry", "leases.v1.create", {"id": "new", "expires_in": -1}, INVALID,
        f"expires_in -1.0: must be seconds from 0 to 3153600000{IN}"),
]  # fmt: skip

NO_SNAPSHOT = "snapshot none does not exist: not found"
NOT_ACTIVE = "failed to commit snapshot: snapshot "
NO_PARENT = "failed to create snapshot: parent "
COMMIT_FIRST = f"; commit it first{IN}"

SNAPSHOTS = [
    *(Row(method, f"snapshots.v1.{method}", {"key": "none"}, NOT_FOUND, NO_SNAPSHOT)
      for method in ("stat", "mounts", "usage", "remove")),
    Row("update", "snapshots.v1.update", {"info": {"name": "none"}}, NOT_FOUND,
        NO_SNAPSHOT),
    Row("commit none", "snapshots.v1.commit", {"key": "none", "name": "x"}, NOT_FOUND,
        NO_SNAPSHOT),
    Row("empty key", "snapshots.v1.prepare", {"key": ""}, INVALID,
        f"snapshot key must not be empty{IN}"),
    Row("empty name", "snapshots.v1.commit", {"key": "active", "name": ""}, INVALID,
        f"snapshot name must not be empty{IN}"),
    Row("exists", "snapshots.v1.prepare", {"key": "active"}, EXISTS,
        'snapshot "active": already exists'),
    Row("exists as a view", "snapshots.v1.view", {"key": "fixed"}, EXISTS,
        'snapshot "fixed": already exists'),
    Row("name exists", "snapshots.v1.commit", {"key": "active", "name": "fixed"}, EXISTS,
        'snapshot "fixed": already exists'),
    Row("no parent", "snapshots.v1.prepare", {"key": "n", "parent": "none"}, NOT_FOUND,
        "parent snapshot none does not exist: not found"),
    Row("active parent", "snapshots.v1.prepare", {"key": "n", "parent": "active"},
        INVALID, f'{NO_PARENT}"active" is not committed snapshot: it is active'
        f"{COMMIT_FIRST}", golden='parent "active" is not committed snapshot'),
    Row("parent is a view", "snapshots.v1.view", {"key": "n", "parent": "seen"}, INVALID,
        f'{NO_PARENT}"seen" is not committed snapshot: it is a view{COMMIT_FIRST}',
        golden='parent "seen" is not committed snapshot'),
    Row("commit twice", "snapshots.v1.commit", {"key": "fixed", "name": "x"},
        PRECONDITION, f'{NOT_ACTIVE}"fixed" is not active: it is committed: failed '
        "precondition", golden='snapshot "fixed" is not active'),
    Row("commit a view", "snapshots.v1.commit", {"key": "seen", "name": "x"},
        PRECONDITION, f'{NOT_ACTIVE}"seen" is not active: it is a view: failed '
        "precondition", golden='snapshot "seen" is not active'),
    Row("mounts of a committed one", "snapshots.v1.mounts", {"key": "fixed"},
        PRECONDITION, "failed to get snapshot mount: requested snapshot fixed not active "
        "or view: prepare or view a child of it: failed precondition",
        golden="requested snapshot fixed not active or view"),
    Row("remove a parent", "snapshots.v1.remove", {"key": "fixed"}, PRECONDITION,
        'cannot remove snapshot with child: "fixed" is the parent of "seen"; remove what '
        "is above it first: failed precondition",
        golden="cannot remove snapshot with child"),
    Row("no snapshotter", "snapshots.v1.prepare", {"key": "n", "snapshotter": "none"},
        INVALID, "snapshotter not loaded: none; there is ",
        golden="snapshotter not loaded: none"),
    Row("nothing to clean", "snapshots.v1.cleanup", {"snapshotter": "none"}, INVALID,
        "snapshotter not loaded: none; there is "),
    Row("labels", "snapshots.v1.prepare", {"key": "n", "labels": LONG}, INVALID,
        f"snapshot.Labels{LONG_LABEL}"),
    Row("field", "snapshots.v1.update", {"info": {"name": "active"}, "fields": ["parent"]},
        INVALID, f'cannot update "parent" field on snapshot "active"{IN}'),
    Row("filter", "snapshots.v1.list", {"filters": ["a=="]}, INVALID,
        f"filters: parse error: [a==]: expected value or quoted{IN}"),
    Row("limit", "snapshots.v1.list", {"limit": -1}, INVALID,
        f"limit -1 must not be negative{IN}"),
]  # fmt: skip

NO_CONTAINER = 'container "none" in namespace "ns": not found'
NO_TASK = "task c not found: not found"

TASKS = [
    *(Row(f"{method}, no container", f"tasks.v1.{method}", {"id": "none"}, NOT_FOUND,
          NO_CONTAINER) for method in ("create", "get", "delete", "pids")),
    *(Row(f"{method}, no task", f"tasks.v1.{method}", {"id": "c"}, NOT_FOUND, NO_TASK,
          golden="task c not found")
      for method in ("get", "start", "kill", "wait", "delete", "pause", "resume")),
    Row("exec", "tasks.v1.exec", {"id": "c", "exec_id": "e", "spec": SPEC}, NOT_FOUND,
        NO_TASK),
    Row("stats", "tasks.v1.stats", {"ids": ["none"]}, NOT_FOUND, NO_CONTAINER),
    Row("spec", "tasks.v1.create", {"id": "c"}, INVALID,
        'container "c": its spec is no OCI runtime specification with a process; make '
        f"one with specs.v1.generate{IN}"),
    Row("stdin", "tasks.v1.create", {"id": "c", "io": {"stdin": "relative"}}, INVALID,
        "io.stdin = 'relative': must be '' or 'stream', or an absolute path" + IN),
    Row("limit", "tasks.v1.list", {"limit": -1}, INVALID,
        f"limit -1 must not be negative{IN}"),
]  # fmt: skip

OTHERS = [
    Row("topic", "events.v1.publish", {"topic": "a", "event": {}}, INVALID,
        f'topic "a" must start with "/"{IN}'),
    Row("since", "events.v1.poll", {"since": 10**15}, RANGE,
        "since 1000000000000000 is beyond the last event "),
    Row("negative since", "events.v1.poll", {"since": -1}, INVALID,
        f"since must not be negative, got -1{IN}"),
    Row("event filter", "events.v1.poll", {"filters": ["a~=/(/"]}, INVALID,
        "filters: parse error: "),
    Row("gc type", "gc.v1.explain", {"type": "x", "name": "x"}, INVALID,
        'unknown object type "x": must be one of container, content, image, ingest, '),
    Row("plugin", "introspection.v1.plugin", {"uri": "x"}, NOT_FOUND,
        'plugin "x": not found'),
    Row("service", "introspection.v1.describe", {"service": "x"}, NOT_FOUND,
        'service "x": not found'),
    Row("export absent", "transfer.v1.export", {"names": ["nope"]}, NOT_FOUND,
        'image "nope": not found'),
    Row("export nothing", "transfer.v1.export", {"names": []}, INVALID,
        f"export: no image is named{IN}"),
]  # fmt: skip

CALLS = [
    Row("no service", "foo", {}, UNIMPLEMENTED,
        'unknown method "foo": a method is service.version.name, as in images.v1.list'),
    Row("misspelt service", "imags.v1.list", {}, UNIMPLEMENTED,
        'unknown service "imags.v1" of "imags.v1.list"; did you mean "images.v1"?'),
    Row("another version", "images.v2.list", {}, UNIMPLEMENTED,
        'unknown service "images.v2" of "images.v2.list"; did you mean "images.v1"?'),
    Row("misspelt method", "images.v1.lst", {}, UNIMPLEMENTED,
        'unknown method "lst" of service "images.v1"; did you mean "list"?'),
    Row("private method", "images.v1.__init__", {}, UNIMPLEMENTED,
        'unknown method "__init__" of service "images.v1"'),
    Row("missing argument", "images.v1.get", {}, INVALID,
        'images.v1.get: argument "name" is missing'),
    Row("nil argument", "images.v1.get", {"name": None}, INVALID,
        'images.v1.get: argument "name" is missing'),
    Row("unknown argument", "images.v1.create", {"image": {"nme": "x"}}, INVALID,
        'images.v1.create: argument "image.nme" is not known; did you mean "name"?'),
    Row("type", "images.v1.get", {"name": 5}, INVALID,
        'images.v1.get: argument "name": expected str, got int'),
    Row("type within", "images.v1.create", image(target={"size": "1"}), INVALID,
        'images.v1.create: argument "image.target.size": expected int, got str'),
    Row("float for int", "images.v1.create", image(target={"size": 1.5}), INVALID,
        'images.v1.create: argument "image.target.size": expected int, got float'),
    Row("type of a label", "images.v1.create", image(labels={"k": 1}), INVALID,
        'images.v1.create: argument "image.labels[...]": expected str, got int'),
    Row("str for list", "images.v1.list", {"filters": "name==x"}, INVALID,
        'images.v1.list: argument "filters": expected array, got str'),
    Row("bytes for str", "images.v1.get", {"name": b"b"}, INVALID,
        'images.v1.get: argument "name": expected str, got bytes'),
    Row("no UTF-8", "images.v1.get", {"name": "\udcff"}, INVALID,
        'images.v1.get: argument "name" is text and must be valid UTF-8'),
    Row("arguments no map", "images.v1.list", ["b"], INVALID,
        "images.v1.list: arguments must be a map, not an array"),
    Row("namespace no str", "images.v1.list", {}, INVALID,
        'images.v1.list: metadata "namespace": expected str, got int', {"namespace": 1}),
    Row("timeout no number", "images.v1.list", {}, INVALID,
        'images.v1.list: metadata "timeout": expected seconds, got str',
        {"timeout": "1s"}),
    Row("timeout passed", "images.v1.create", image(), "deadline_exceeded",
        "images.v1.create: the timeout of -1 s has passed", {"timeout": -1}),
    Row("descriptor that did not come", "transfer.v1.import", {"fd": 3}, INVALID,
        'transfer.v1.import: argument "fd" is the index of a descriptor that comes '
        "with the request, of which there are 0"),
]  # fmt: skip

TABLES = {
    "snapshots": SNAPSHOTS,
    "tasks": TASKS,
    "namespaces": NAMESPACES,
    "images": IMAGES,
    "content": CONTENT,
    "commit": COMMITS,
    "containers": CONTAINERS,
    "leases": LEASES,
    "others": OTHERS,
    "calls": CALLS,
}
ROWS = [
    pytest.param(row, id=f"{table}: {row.name}")
    for table, rows in TABLES.items()
    for row in rows
]


@pytest.mark.parametrize("row", ROWS)
def test_bad_input_has_its_error_and_changes_nothing(
    daemon: DaemonProcess, row: Row
) -> None:
    before = state(daemon)
    if row.method.startswith("tasks.") and why_not("runc") and why_not("crun"):
        pytest.skip("no tasks here: " + why_not("runc"))
    with daemon.connect("ns") as raw:
        refusal = raw.refusal(row.method, row.arguments, **row.metadata)
        assert raw.result("images.v1.list"), "the connection goes on"
    assert refusal.code == row.code
    # Rows whose text ends in a blank hold what does not depend on this test's order.
    if row.text.endswith(" "):
        assert refusal.text.startswith(row.text)
    else:
        assert refusal.text == row.text
    assert row.golden is None or row.golden in refusal.text
    assert state(daemon) == before


def test_a_ref_that_is_written_to_is_unavailable(daemon: DaemonProcess) -> None:
    """The text has times in it, and who holds the lock has to be there."""
    with daemon.connect("ns") as holder, daemon.connect("ns") as raw:
        ingest = holder.begin("content.v1.ingest", {"ref": "locked"})
        for _ in range(5):  # more than is kept in memory before it gets a record
            holder.send([2, "$/item", [ingest, bytes(1 << 20)]])
        # Looking takes no lock, and so cannot be what the stream is refused for.
        end = time.monotonic() + 20
        while not raw.result("content.v1.list_statuses"):
            assert time.monotonic() < end
            time.sleep(0.001)
        refusal = raw.refusal("content.v1.write", {"ref": "locked", "data": b"x"})
        assert refusal.code == "unavailable"
        assert refusal.text.startswith("ref ns/")
        assert "/locked locked for " in refusal.text
        assert "(since " in refusal.text
        assert refusal.text.endswith("): unavailable")
        abort = raw.refusal("content.v1.abort", {"ref": "locked"})
        assert abort.code == "unavailable"
        holder.send([2, "$/cancel", [ingest]])
        assert holder.answer(ingest)[0] == "canceled"
        raw.result("content.v1.write", {"ref": "locked", "data": b"x"})
        raw.result("content.v1.abort", {"ref": "locked"})


def test_a_blob_that_came_from_elsewhere_ends_the_ingest(
    daemon: DaemonProcess,
) -> None:
    """Here something does change, as in containerd: the ingest is of no use any more."""
    with daemon.connect("ns") as raw:
        raw.result("content.v1.write", {"ref": "late", "data": b"0"})
        refusal = raw.refusal(
            "content.v1.write", {"ref": "late", "offset": 1, "expected": DIGEST}
        )
        assert refusal == Refusal(EXISTS, f"blob with expected digest {DIGEST} exists")
        assert raw.refusal("content.v1.status", {"ref": "late"}).code == NOT_FOUND


def test_an_ingest_survives_a_refused_commit(daemon: DaemonProcess) -> None:
    with daemon.connect("ns") as raw:
        for changes in ({"total": 4}, {"expected": ABSENT}):
            write = {"ref": "kept", "action": "commit", "data": b"12345", **changes}
            assert raw.refusal("content.v1.write", write).code == PRECONDITION
        status = raw.result("content.v1.status", {"ref": "kept"})["status"]
        assert status["offset"] == 5
        # A root, or a collection that another test caused may be faster than the end.
        good: dict[str, Any] = {"ref": "kept", "action": "commit", "offset": 5}
        good |= {"total": 5, "labels": {"containerd.io/gc.root": "x"}}
        assert raw.result("content.v1.write", good)["offset"] == 5
        raw.result("content.v1.delete", {"digest": raw_digest(b"12345")})


def raw_digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def test_no_mistake_of_a_client_leaves_a_traceback(daemon: DaemonProcess) -> None:
    """Runs last in this file, after all the others went to the same daemon."""
    with RawSocket(daemon.address) as raw:
        raw.result("introspection.v1.health")
    assert "Traceback" not in daemon.log
    assert "level=error" not in daemon.log
