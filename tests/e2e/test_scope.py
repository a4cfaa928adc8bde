# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""One meaning in four ways: the same script of calls, in process, through the typed client,
through pluggctl, and from a client that knows nothing but msgpack.

Every row of what the daemon is for has its calls here, good ones and refused ones. The
answers must be the same, but for times, numbers and the namespace, which is each voice's own.
"""

from __future__ import annotations

import base64
import hashlib
import json
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import trio

from pluggd.client import Client
from pluggd.core.arguments import Arguments
from pluggd.errors import PluggdError
from pluggd.model.record import to_plain
from pluggd.plugin import Context, NoConfig, Registration
from pluggd.services import call
from pluggd.services.containers import CONTAINERS
from pluggd.services.content import CONTENT
from pluggd.services.events import EVENTS
from pluggd.services.gc import GC
from pluggd.services.images import IMAGES
from pluggd.services.introspection import INTROSPECTION
from pluggd.services.kind import Kind
from pluggd.services.leases import LEASES
from pluggd.services.namespaces import NAMESPACES
from pluggd.services.schema import service_schema
from pluggd.services.transfer import TRANSFER
from pluggd.testing import RunningDaemon, running_daemon
from tests.e2e.raw_socket import RawSocket, Refusal

KINDS: dict[str, Kind[Any]] = {
    kind.service: kind
    for kind in (
        CONTAINERS,
        CONTENT,
        EVENTS,
        GC,
        IMAGES,
        INTROSPECTION,
        LEASES,
        NAMESPACES,
        TRANSFER,
    )
}
BLOB = b'{"layers": []}'
DIGEST = f"sha256:{hashlib.sha256(BLOB).hexdigest()}"
LAYER = b"a layer"
LAYER_DIGEST = f"sha256:{hashlib.sha256(LAYER).hexdigest()}"
TARGET = {
    "media_type": "application/vnd.oci.image.manifest.v1+json",
    "digest": DIGEST,
    "size": len(BLOB),
    "annotations": {"org.opencontainers.image.ref.name": "1", "gone": ""},
}
IMAGE = {"name": "docker.io/x:1", "labels": {"a": "b"}, "target": TARGET}
SPEC = {"type_url": "spec", "value": {"args": ["sh"], "n": 1}}
CONTAINER = {
    "id": "c1",
    "image": "docker.io/x:1",
    "runtime": {"name": "runc"},
    "spec": SPEC,
    "labels": {"containerd.io/gc.ref.content.x": LAYER_DIGEST},
}

Step = tuple[str, dict[str, Any]]
SCRIPT: list[Step] = [
    # What the voice before deleted calls for a collection, which must not come now.
    ("gc.v1.run", {"wait": True}),
    # namespaces and identifiers
    ("namespaces.v1.create", {"namespace": {"name": "NS", "labels": {"k": "v"}}}),
    ("namespaces.v1.create", {"namespace": {"name": "NS"}}),
    ("namespaces.v1.create", {"namespace": {"name": "bad ns!"}}),
    ("namespaces.v1.get", {"name": "NS"}),
    # content
    ("content.v1.write", {"ref": "m", "data": BLOB[:5], "total": len(BLOB)}),
    ("content.v1.status", {"ref": "m"}),
    ("content.v1.write", {"ref": "m", "offset": 3, "data": b"x"}),
    (
        "content.v1.write",
        {
            "ref": "m",
            "action": "commit",
            "offset": 5,
            "data": BLOB[5:],
            "expected": DIGEST,
            "labels": {"containerd.io/gc.ref.content.l.0": LAYER_DIGEST},
        },
    ),
    ("content.v1.write", {"ref": "l", "action": "commit", "data": LAYER}),
    ("content.v1.write", {"ref": "l", "action": "commit", "expected": DIGEST}),
    ("content.v1.info", {"digest": DIGEST}),
    ("content.v1.info", {"digest": "zz"}),
    ("content.v1.list", {"filters": [f"digest=={LAYER_DIGEST}"]}),
    ("content.v1.read", {"digest": DIGEST, "offset": 2, "size": 6, "verify": True}),
    ("content.v1.read", {"digest": DIGEST, "offset": 99}),
    # images: annotations, masks, filters, pages
    ("images.v1.create", {"image": IMAGE}),
    ("images.v1.create", {"image": IMAGE}),
    ("images.v1.create", {"image": IMAGE | {"name": ""}}),
    ("images.v1.get", {"name": "docker.io/x:1"}),
    ("images.v1.get", {"name": "nope"}),
    (
        "images.v1.update",
        {
            "image": {"name": "docker.io/x:1", "labels": {"c": "d"}},
            "fields": ["labels.c", "labels.a"],
        },
    ),
    ("images.v1.update", {"image": IMAGE, "fields": ["bogus"]}),
    ("images.v1.create", {"image": IMAGE | {"name": "docker.io/y:1"}}),
    ("images.v1.list", {"limit": 1}),
    ("images.v1.list", {"limit": 1, "after": "docker.io/x:1"}),
    ("images.v1.list", {"filters": ["labels.c==d", "name~=/z/"]}),
    ("images.v1.list", {"filters": ["name==="]}),
    ("images.v1.list", {"limit": -1}),
    # leases
    ("leases.v1.create", {"id": "l1", "labels": {"why": "test"}}),
    (
        "leases.v1.add_resource",
        {"id": "l1", "resource": {"type": "content", "id": DIGEST}},
    ),
    ("leases.v1.list_resources", {"id": "l1"}),
    ("leases.v1.add_resource", {"id": "l1", "resource": {"type": "x", "id": "y"}}),
    ("leases.v1.delete", {"id": "l1", "sync": True}),
    ("leases.v1.get", {"id": "l1"}),
    # containers pin what they refer to
    ("containers.v1.create", {"container": CONTAINER}),
    ("containers.v1.create", {"container": CONTAINER | {"spec": None}}),
    ("containers.v1.get", {"id": "c1"}),
    ("containers.v1.list", {"filters": ["runtime.name==runc"]}),
    ("gc.v1.explain", {"name": DIGEST}),
    ("gc.v1.explain", {"name": LAYER_DIGEST}),
    # deletion leads to collection
    ("images.v1.delete", {"name": "docker.io/x:1"}),
    ("images.v1.delete", {"name": "docker.io/y:1", "sync": True}),
    ("content.v1.info", {"digest": DIGEST}),
    ("content.v1.info", {"digest": LAYER_DIGEST}),
    ("namespaces.v1.delete", {"name": "NS"}),
    ("containers.v1.delete", {"id": "c1"}),
    ("gc.v1.run", {"wait": True}),
    ("content.v1.list", {}),
    # events
    (
        "events.v1.publish",
        {"topic": "/mine/thing", "event": {"type_url": "mine", "value": {"n": 1}}},
    ),
    ("events.v1.publish", {"topic": "mine", "event": {}}),
    ("events.v1.poll", {"since": 0, "filters": ["namespace==NS"]}),
    ("events.v1.poll", {"since": 10**12}),
    # transfer and introspection
    ("transfer.v1.status", {}),
    ("introspection.v1.plugin", {"uri": "pluggd.images.v1.store"}),
    ("introspection.v1.plugin", {"uri": "nope"}),
    ("introspection.v1.describe", {"service": "images.v1"}),
    ("introspection.v1.health", {"service": "images.v1"}),
    # the end
    ("namespaces.v1.delete", {"name": "NS"}),
    ("namespaces.v1.get", {"name": "NS"}),
]

Answer = tuple[str, Any]
Voice = Callable[[str, dict[str, Any]], Awaitable[Answer]]


def plugin(services: dict[str, Any]) -> Registration[Any, Any]:
    """A plugin that takes every service, as others would."""

    @asynccontextmanager
    async def start(ctx: Context[NoConfig]) -> AsyncGenerator[object]:
        for service, kind in KINDS.items():
            services[service] = ctx.get(kind)
        yield object()

    return Registration(
        provides=Kind("test.user.v1", object),
        id="x",
        start=start,
        requires=tuple(KINDS.values()),
    )


def typed(get: Callable[[str], Any], namespace: str) -> Voice:
    """Python callers of the Protocols: plugins, and the users of the client."""

    async def say(method: str, arguments: dict[str, Any]) -> Answer:
        service, _, name = method.rpartition(".")
        schema = service_schema(KINDS[service]).method(name)
        bound = Arguments(schema).bind(json.loads(json.dumps(arguments, default=_64)))
        with call.using(namespace=namespace):
            try:
                result = to_plain(
                    await getattr(get(service), schema.attribute)(**bound)
                )
            except PluggdError as error:
                return (error.code, error.message)
        return ("", {schema.key: result} if schema.key else result)

    return say


def _64(value: object) -> str:
    assert isinstance(value, bytes)
    return value.decode("latin-1")


def raw(address: Path, namespace: str) -> Voice:
    """A foreign client."""

    def ask(method: str, arguments: dict[str, Any]) -> Answer:
        with RawSocket(address, namespace) as sock:
            answer = sock.call(method, arguments)
        if isinstance(answer, Refusal):
            return (answer.code, answer.text)
        return ("", answer)

    async def say(method: str, arguments: dict[str, Any]) -> Answer:
        return await trio.to_thread.run_sync(ask, method, arguments)

    return say


def pluggctl(address: Path, namespace: str) -> Voice:
    """A person, or a script of theirs."""
    base = [sys.executable, "-m", "pluggd.cli.pluggctl", "-a", str(address)]

    async def say(method: str, arguments: dict[str, Any]) -> Answer:
        text = json.dumps(arguments, default=_dollar)
        done = await trio.run_process(
            [*base, "-n", namespace, "--json", "call", method, text],
            check=False,
            capture_stdout=True,
            capture_stderr=True,
        )
        if done.returncode:
            line = done.stderr.decode().splitlines()[0]
            code, message = line.removeprefix("pluggctl: ").split(": ", 1)
            return (code, message)
        return ("", json.loads(done.stdout or b"null"))

    return say


def _dollar(value: object) -> dict[str, str]:
    assert isinstance(value, bytes)
    return {"$bytes": base64.b64encode(value).decode()}


# What is not the same for two callers of one daemon.
OWN = {
    *("created_at", "updated_at", "started_at", "timestamp", "seq", "next", "took"),
    *("elapsed", "pause", "examined", "since", "last_at", "next_at"),
    *("calls", "errors", "tasks"),
}


def same(value: Any, namespace: str) -> Any:
    """Without what is each caller's own, and with nothing for what is at its default."""
    if isinstance(value, dict):
        items = cast("dict[str, object]", value)
        if set(items) == {"$bytes"}:
            return base64.b64decode(str(items["$bytes"]))
        kept = {
            key: same(one, namespace)
            for key, one in items.items()
            if key not in OWN or isinstance(one, str)
        }
        return {key: one for key, one in kept.items() if one not in (None, {}, [])}
    if isinstance(value, list):
        return [same(one, namespace) for one in cast("list[object]", value)]
    if isinstance(value, str):
        return value.replace(namespace, "NS")
    return value


def in_namespace(value: Any, namespace: str) -> Any:
    if isinstance(value, dict):
        items = cast("dict[str, object]", value)
        return {key: in_namespace(one, namespace) for key, one in items.items()}
    if isinstance(value, list):
        return [in_namespace(one, namespace) for one in cast("list[object]", value)]
    return value.replace("NS", namespace) if isinstance(value, str) else value


async def play(voice: Voice, namespace: str) -> list[tuple[str, str, Any]]:
    told: list[tuple[str, str, Any]] = []
    for method, arguments in SCRIPT:
        code, answer = await voice(method, in_namespace(arguments, namespace))
        # The number of the last event depends on how many there were.
        if code == "out_of_range" and method == "events.v1.poll":
            answer = str(answer).rpartition("event ")[0]
        # The scheduler may have been faster.
        if method == "gc.v1.run":
            answer = None
        told.append((method, code, same(answer, namespace) or None))
    return told


REFUSED = [
    ("namespaces.v1.create", "already_exists"),
    ("namespaces.v1.create", "invalid_argument"),
    ("content.v1.write", "out_of_range"),
    ("content.v1.write", "already_exists"),
    ("content.v1.info", "invalid_argument"),
    ("content.v1.read", "out_of_range"),
    ("images.v1.create", "already_exists"),
    ("images.v1.create", "invalid_argument"),
    ("images.v1.get", "not_found"),
    ("images.v1.update", "invalid_argument"),
    ("images.v1.list", "invalid_argument"),
    ("images.v1.list", "invalid_argument"),
    ("leases.v1.add_resource", "not_implemented"),
    ("leases.v1.get", "not_found"),
    ("containers.v1.create", "invalid_argument"),
    ("content.v1.info", "not_found"),
    ("namespaces.v1.delete", "failed_precondition"),
    ("events.v1.publish", "invalid_argument"),
    ("events.v1.poll", "out_of_range"),
    ("introspection.v1.plugin", "not_found"),
    ("namespaces.v1.get", "not_found"),
]


async def test_every_row_means_the_same_in_every_way(tmp_path: Path) -> None:
    services: dict[str, Any] = {}
    quiet = {"plugins": {"pluggd.gc.v1.scheduler": {"mutation_threshold": 0}}}
    with trio.fail_after(240):
        async with (
            running_daemon(tmp_path, quiet, plugins=[plugin(services)]) as daemon,
            daemon.client() as client,
        ):
            wanted = await play(typed(services.__getitem__, "voice-a"), "voice-a")
            check_what_was_told(wanted)
            for namespace, voice in voices(daemon, client).items():
                assert await play(voice, namespace) == wanted, namespace


def voices(daemon: RunningDaemon, client: Client) -> dict[str, Voice]:
    return {
        "voice-b": typed(lambda service: client.get(KINDS[service]), "voice-b"),
        "voice-c": raw(daemon.address, "voice-c"),
        "voice-d": pluggctl(daemon.address, "voice-d"),
    }


def check_what_was_told(told: list[tuple[str, str, Any]]) -> None:
    """That all agree is worth nothing when all are wrong alike."""
    refused = [(method, code) for method, code, _ in told if code]
    assert refused == REFUSED
    answers = [answer for _, _, answer in told]
    created = answers[SCRIPT.index(("images.v1.create", {"image": IMAGE}))]["image"]
    assert created["target"]["annotations"] == {
        "org.opencontainers.image.ref.name": "1"
    }
    events = next(a for m, c, a in told if m == "events.v1.poll" and not c)["events"]
    assert [event["topic"] for event in events] == [
        "/namespaces/create",
        "/content/create",
        "/content/create",
        "/images/create",
        "/images/update",
        "/images/create",
        "/containers/create",
        "/images/delete",
        "/images/delete",
        "/content/delete",
        "/containers/delete",
        "/content/delete",
        "/mine/thing",
    ]
