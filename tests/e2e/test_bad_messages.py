# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Messages that are none, and messages over each limit of docs/rpc.md, to the real daemon:
the one connection gets its answer and its end, and no other notices. And names of every
kind, which are no bad input: long ones, odd ones, and many with one beginning.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest

from tests.e2e.raw_socket import DaemonProcess, RawSocket, Refusal, daemon_process

LIMITS = """
[rpc.limits]
message_size = 3145728
depth = 8
elements = 1000
requests = 4
streams = 2
queued = 65536
queued_max = 8388608
connections = 12
"""
TARGET = {"media_type": "m", "digest": "sha256:" + "a" * 64, "size": 1}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    with daemon_process(tmp_path_factory.mktemp("limits"), LIMITS) as running:
        yield running


@pytest.fixture
def witness(daemon: DaemonProcess) -> Iterator[RawSocket]:
    """Another client, with a call in flight, who must not notice anything."""
    with daemon.connect("ns") as raw:
        never = {"wait": 60, "filters": ["topic==never"]}
        poll = raw.begin("events.v1.poll", never)
        yield raw
        raw.send([2, "$/cancel", [poll]])
        assert raw.answer(poll)[0] == "canceled"
        assert raw.result("introspection.v1.health")
    assert daemon.process is not None
    assert daemon.process.poll() is None
    assert "Traceback" not in daemon.log


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def test_a_message_over_the_size_is_refused(
    daemon: DaemonProcess, witness: RawSocket
) -> None:
    with daemon.connect("ns") as raw:
        msgid = raw.begin("content.v1.write", {"ref": "r", "data": bytes(3 << 20)})
        refusal = raw.answer(msgid)
        assert refusal.code == "resource_exhausted"
        assert "3145728" in refusal.text
        assert raw.closed() == []


def test_a_message_that_says_it_is_huge_is_refused_at_the_limit(
    daemon: DaemonProcess, witness: RawSocket
) -> None:
    """4 GiB - 1, of which 4 MiB come."""
    with daemon.connect("ns") as raw:
        with contextlib.suppress(BrokenPipeError):
            raw.sock.sendall(b"\x94\x00\x07\xa3a.b\xc6" + b"\xff" * 4 + bytes(4 << 20))
        refusal = raw.answer(7)
        assert refusal.code == "resource_exhausted"
        assert raw.closed() == []


def test_a_message_nested_too_deep_is_refused(
    daemon: DaemonProcess, witness: RawSocket
) -> None:
    with daemon.connect("ns") as raw:
        arguments = {"topic": "/a/b", "event": {"value": nested(3)}}
        assert raw.result("events.v1.publish", arguments)
        arguments = {"topic": "/a/b", "event": {"value": nested(9)}}
        refusal = raw.refusal("events.v1.publish", arguments)
        assert refusal.code == "resource_exhausted"
        assert "8 levels" in refusal.text
        assert raw.closed() == []


def test_a_message_of_too_many_values_is_refused(
    daemon: DaemonProcess, witness: RawSocket
) -> None:
    with daemon.connect("ns") as raw:
        refusal = raw.refusal("images.v1.list", {"filters": ["x"] * 1001})
        assert refusal.code == "resource_exhausted"
        assert "1000" in refusal.text
        assert raw.closed() == []


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\xc1",
        b"\x00",
        b"\x90",
        b"\x93\x00\x01\xa1x",
        b"\x94\x05\x01\xa1x\x90",
        b"\x94\x00\xa1x\xa1x\x90",
        b"\x94\x00\x01\xc0\x90",
        b"\xd9",
        b"\x94\x00\x01\xa1x\x91\x81\x01\x02",
        b"\x94\x00\x01\xa1x\x91\xc7\x01\x05x",
        b"\x94\x00\x01\xaeimages.v1.list\x91\x81\xa5limit\xcf" + b"\xff" * 8,
    ],
)
def test_what_is_no_message_ends_that_connection_alone(
    daemon: DaemonProcess, witness: RawSocket, data: bytes
) -> None:
    with daemon.connect() as raw:
        raw.sock.sendall(data)
        raw.sock.shutdown(socket.SHUT_WR)
        for message in raw.closed():
            if message[0] == 1:
                assert message[2].startswith(
                    ("invalid_argument: ", "not_implemented: ")
                )
            else:
                assert message[:2] == [2, "$/error"]


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"\x94\x00\x01\xa1x\x91\x81\x01\x02", "a key of a map is no string, but of"),
        (b"\x93\x02\xa8$/cancel\x91\xa1x", "$/cancel is [msgid], all integers"),
        (b"\x93\x02\xa8$/credit\x91\x01", "$/credit is [msgid, n], all integers"),
    ],
)
def test_what_is_no_message_is_told_why(
    daemon: DaemonProcess, data: bytes, text: str
) -> None:
    with daemon.connect() as raw:
        raw.sock.sendall(data)
        (message,) = raw.closed()
        assert text in str(message[2])


@pytest.mark.parametrize(
    "value",
    [msgpack.ExtType(5, b"x"), msgpack.Timestamp(1, 2), [{"a": msgpack.Timestamp(1)}]],
)
def test_an_extension_type_is_refused_where_anything_may_stand(
    daemon: DaemonProcess, value: object
) -> None:
    spec = {"type_url": "x", "value": value}
    with daemon.connect("ns") as raw:
        refusal = raw.refusal(
            "containers.v1.create", {"container": {"id": "e", "spec": spec}}
        )
        assert refusal.code == "invalid_argument"
        assert 'argument "container.spec.value' in refusal.text
        assert "holds an extension type" in refusal.text


def test_positional_arguments_are_told_as_such_also_without_a_namespace(
    daemon: DaemonProcess,
) -> None:
    with daemon.connect() as raw:
        refusal = raw.refusal("images.v1.get", "docker.io/library/alpine:latest")
        assert refusal.code == "invalid_argument"
        assert refusal.text == "images.v1.get: arguments must be a map, not a str"


def test_requests_and_streams_in_flight_have_a_limit(
    daemon: DaemonProcess, witness: RawSocket
) -> None:
    with daemon.connect("ns") as raw:
        streams = [raw.begin("events.v1.subscribe") for _ in range(2)]
        refusal = raw.refusal("events.v1.subscribe")
        assert refusal == Refusal(
            "resource_exhausted", "a connection may have 2 streams"
        )
        polls = [raw.begin("events.v1.poll", {"wait": 60}) for _ in range(2)]
        refusal = raw.refusal("events.v1.poll", {"wait": 60})
        assert refusal == Refusal(
            "resource_exhausted", "a connection may have 4 requests in flight"
        )
        # What needs no waiting is still served.
        assert raw.result("introspection.v1.health")
        for msgid in [*streams, *polls]:
            raw.send([2, "$/cancel", [msgid]])
            assert raw.answer(msgid)[0] == "canceled"
        assert raw.result("events.v1.poll", {"since": 0})


def test_a_msgid_in_use_is_refused(daemon: DaemonProcess, witness: RawSocket) -> None:
    with daemon.connect("ns") as raw:
        params = [{"wait": 60}, {"namespace": "ns"}]
        raw.send(*([0, 5, "events.v1.poll", params] for _ in range(2)))
        refusal = raw.answer(5)
        assert refusal.code == "invalid_argument"
        assert "msgid 5" in refusal.text


def test_a_reader_that_does_not_read_is_held_up_and_no_one_else(
    daemon: DaemonProcess, witness: RawSocket
) -> None:
    with daemon.connect("ns") as raw, daemon.connect("ns") as other:
        write = {"ref": "w", "action": "commit", "data": bytes(1 << 20)}
        labels = {"containerd.io/gc.root": "1"}
        digest = other.result("content.v1.write", write | {"labels": labels})["digest"]
        # Far more than all buffers hold; the daemon stops reading, so this must not block.
        raw.sock.setblocking(False)
        params = [{"digest": digest}, {"namespace": "ns"}]
        sent = 0
        try:
            for msgid in range(100_000):
                sent += raw.sock.send(raw.pack([0, msgid, "content.v1.read", params]))
        except BlockingIOError:
            pass
        began = time.monotonic()
        for _ in range(20):
            assert other.result("introspection.v1.health")
        assert time.monotonic() - began < 10
        status = Path(f"/proc/{daemon.pid}/status").read_text()
        resident = int(status.split("VmRSS:")[1].split()[0]) // 1024
        assert resident < 400, "MiB, after a client asked for gigabytes"


def test_one_connection_too_many_is_told(
    daemon: DaemonProcess, witness: RawSocket
) -> None:
    crowd: list[RawSocket] = []
    try:
        while True:
            raw = daemon.connect()
            crowd.append(raw)
            raw.begin("introspection.v1.health")
            message = raw.message()
            assert message is not None
            if message[0] == 2:
                break
            assert len(crowd) <= 12
        assert message[1] == "$/error"
        assert "connections" in message[2][0]
    finally:
        for raw in crowd:
            raw.sock.close()
    # There is room again.
    deadline = time.monotonic() + 20
    while True:
        with daemon.connect() as raw:
            raw.begin("introspection.v1.health")
            message = raw.message()
            if message is not None and message[0] == 1:
                return
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_names_of_any_length_and_kind_are_kept_in_byte_order(
    daemon: DaemonProcess,
) -> None:
    prefix = "p" * 600
    names = [
        "A",
        "a",
        "a/b",
        "b",
        "nul\0inside",
        "weird name/with:stuff @!",
        "\U0001f40b",
        "é",
        "x" * (1 << 20),
        *(prefix + "q" * n for n in range(30)),
        *(prefix + chr(code) for code in (1, 47, 65, 97, 126, 233)),
        *("k" * n for n in range(500, 520)),
    ]
    with daemon.connect("names") as raw:
        for name in names:
            image = {"name": name, "target": TARGET}
            raw.result("images.v1.create", {"image": image})
            assert raw.refusal("images.v1.create", {"image": image})[0] == (
                "already_exists"
            )
        wanted = sorted(names, key=str.encode)
        for limit in (1, 2, 7, 100):
            assert list(pages(raw, limit)) == wanted
        # A cursor need not exist, and may be long itself.
        for after in (prefix, prefix + "qz", "k" * 511, "\xff" * 700):
            page = raw.result("images.v1.list", {"after": after, "limit": 3})
            found = [one["name"] for one in page.get("images", [])]
            bigger = [n for n in wanted if n.encode() > after.encode()]
            assert found == bigger[:3]
        listed = raw.result("images.v1.list", {"filters": [f"name=={prefix}qq"]})
        assert [one["name"] for one in listed["images"]] == [prefix + "qq"]
        for name in names:
            assert raw.result("images.v1.get", {"name": name})["image"]["name"] == name
            raw.result("images.v1.delete", {"name": name})
        assert raw.result("images.v1.list") == {}


def pages(raw: RawSocket, limit: int) -> Iterator[str]:
    after = ""
    while True:
        page = raw.result("images.v1.list", {"limit": limit, "after": after})
        assert len(page.get("images", [])) <= limit
        yield from (one["name"] for one in page.get("images", []))
        after = page.get("next", "")
        if not after:
            return


@pytest.mark.parametrize("kind", ["leases", "ingests"])
def test_long_ids_and_refs_are_kept_too(daemon: DaemonProcess, kind: str) -> None:
    names = ["r" * n for n in (1, 510, 511, 512, 5000)] + ["r" * 511 + "/x", "a b/c"]
    with daemon.connect("names") as raw:
        for name in names:
            if kind == "leases":
                raw.result("leases.v1.create", {"id": name})
            else:
                raw.result("content.v1.write", {"ref": name, "data": name.encode()})
        if kind == "leases":
            found = [one["id"] for one in raw.result("leases.v1.list")["leases"]]
        else:
            statuses = raw.result("content.v1.list_statuses")["statuses"]
            assert {s["ref"]: s["offset"] for s in statuses} == {
                name: len(name) for name in names
            }
            found = [one["ref"] for one in statuses]
        assert found == sorted(names)
        for name in names:
            if kind == "leases":
                raw.result("leases.v1.delete", {"id": name})
            else:
                raw.result("content.v1.abort", {"ref": name})
