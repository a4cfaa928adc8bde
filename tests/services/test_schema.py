# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""A Protocol read as a schema, and what cannot be one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import msgpack
import pytest

from pluggd.core.rpcdoc import kinds_with_methods
from pluggd.model.record import Record
from pluggd.model.types import Time
from pluggd.services.content import CONTENT
from pluggd.services.kind import Kind
from pluggd.services.rpc import Fd, Send, rpc
from pluggd.services.schema import service_schema, shown_type, split_docs
from pluggd.services.wiretypes import type_name
from tests.core.server_kit import TOY, Point, Shape


def test_names_parameters_and_defaults() -> None:
    schema = service_schema(TOY)
    assert schema.name == "toy.v1"
    get = schema.method("get")
    assert (get.name, get.key, get.namespaced) == ("toy.v1.get", "point", False)
    assert [(p.name, p.type, p.required, p.default) for p in get.parameters] == [
        ("name", str, True, None),
        ("scale", int, False, 1),
    ]
    assert get.parameter_docs() == {"name": "which one.", "scale": "times this."}
    assert get.errors == ("not_found",)
    assert schema.method("import_").name == "toy.v1.import"


def test_streams_and_their_credit() -> None:
    schema = service_schema(TOY)
    ticks, fetch = schema.method("ticks").sends, schema.method("fetch").sends
    assert ticks is not None
    assert (type_name(ticks.item), ticks.credit, ticks.chunk) == ("Tick", 64, 0)
    assert fetch is not None
    assert (fetch.item, fetch.credit, fetch.chunk) == (bytes, 8, 1024 * 1024)
    assert schema.method("ticks").parameters[0].name == "count"
    assert len(schema.method("ticks").parameters) == 1


def test_descriptors_are_found() -> None:
    schema = service_schema(TOY)
    assert schema.method("open").result_fds == (("fd",),)
    assert schema.method("write_to").fds == ("fd",)
    assert service_schema(CONTENT).method("open").result_fds == (("fd",),)


def test_records_are_listed_once_also_when_they_contain_themselves() -> None:
    records = service_schema(TOY).records()
    assert records.count(Point) == 1
    assert records.count(Shape) == 1


def test_every_service_describes_itself_in_plain_data() -> None:
    kinds = kinds_with_methods()
    assert {"pluggd.images.v1", "pluggd.rpc.v1"} <= {kind.name for kind in kinds}
    for kind in kinds:
        described = service_schema(kind).describe()
        assert msgpack.unpackb(msgpack.packb(described))["service"] == kind.service


class Alarm(Record, frozen=True):
    at: Time = 0
    snoozed: list[Time] = []
    last: Time | None = None
    count: int = 0


class Alarms(Protocol):
    @rpc(result="at")
    async def next(
        self, *, after: Time = 0, limit: int = 0, out: Send[Time]
    ) -> Time: ...

    @rpc()
    async def get(self) -> Alarm: ...


def test_a_time_is_an_int_that_is_marked_as_one() -> None:
    described = service_schema(Kind("pluggd.alarms.v1", Alarms)).describe()
    following, get = described["methods"]
    after, limit = following["params"]
    assert (after["type"], after["format"]) == ("int", "time")
    assert "format" not in limit
    assert (following["result"], following["result_format"]) == ("int", "time")
    assert (following["sends"]["item"], following["sends"]["format"]) == ("int", "time")
    assert "result_format" not in get
    (alarm,) = described["records"]
    assert [(f["name"], f["type"], f.get("format")) for f in alarm["fields"]] == [
        ("at", "int", "time"),
        ("snoozed", "list[int]", "time"),
        ("last", "int | nil", "time"),
        ("count", "int", None),
    ]


def test_a_time_is_shown_as_one() -> None:
    assert shown_type("int | nil", "time") == "time | nil"
    assert shown_type("map[int]", "time") == "map[time]"
    assert shown_type("int", "") == "int"


def test_texts_are_split_by_name() -> None:
    doc = "Do it.\n\nsize: in bytes; 0 for all. wait: until\ndone. Raises NotFound."
    assert split_docs(doc, ["size", "wait", "other"]) == {
        "size": "in bytes; 0 for all.",
        "wait": "until done.",
    }


def bad(interface: Any) -> Kind[Any]:
    return Kind("pluggd.bad.v1", interface)


class Positional(Protocol):
    @rpc()
    async def f(self, x: int) -> None: ...


class Synchronous(Protocol):
    @rpc()
    def f(self) -> None: ...


class TwoStreams(Protocol):
    @rpc()
    async def f(self, *, a: Send[bytes], b: Send[bytes]) -> None: ...


class BareResult(Protocol):
    @rpc()
    async def f(self) -> int: ...


class HiddenFd(Protocol):
    @rpc()
    async def f(self, *, shapes: Sequence[Shape], fd: list[Fd]) -> None: ...


@pytest.mark.parametrize("interface", [Positional, Synchronous, TwoStreams, BareResult])
def test_what_cannot_be_served_is_a_type_error(interface: Any) -> None:
    with pytest.raises(TypeError, match=r"bad\.v1\.f"):
        service_schema(bad(interface))


def test_a_kind_without_methods_serves_nothing() -> None:
    class Nothing(Protocol):
        def f(self) -> int: ...

    assert service_schema(bad(Nothing)).methods == ()
