# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Binding arguments, the table of services, and who may call."""

from __future__ import annotations

from typing import Any

import pytest

from pluggd.core.access import AccessConfig, AccessRule, check_access
from pluggd.core.arguments import Arguments
from pluggd.core.dispatch import Dispatcher, Session
from pluggd.errors import (
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    NotImplemented_,
    PermissionDenied,
    Unavailable,
)
from pluggd.services.call import Peer
from pluggd.services.schema import service_schema
from pluggd.wire.messages import Request
from tests.core.server_kit import TOY, Point, Shape, ToyService

PEER = Peer(uid=1000, gid=100, pid=1)


def bind(method: str, data: Any, *, escaped: bool = False) -> dict[str, Any]:
    return Arguments(service_schema(TOY).method(method)).bind(data, escaped=escaped)


def test_arguments_become_typed() -> None:
    bound = bind("put", {"shape": {"name": "n", "corners": [{"x": 1}]}, "data": "ab"})
    assert bound == {"shape": Shape(name="n", corners=[Point(x=1)]), "data": b"ab"}


def test_nil_is_absent_at_every_level() -> None:
    assert bind("get", {"name": "p", "scale": None}) == {"name": "p"}
    bound = bind(
        "put", {"shape": {"name": "n", "corners": [{"x": None}], "inner": None}}
    )
    assert bound == {"shape": Shape(name="n", corners=[Point()])}


@pytest.mark.parametrize(
    ("method", "data", "text"),
    [
        ("get", None, 'argument "name" is missing'),
        ("get", {"name": None}, 'argument "name" is missing'),
        ("get", {"name": 1}, 'argument "name": expected str, got int'),
        (
            "get",
            {"name": "p", "scale": True},
            'argument "scale": expected int, got bool',
        ),
        ("get", {"nam": "p"}, 'argument "nam" is not known; did you mean "name"?'),
        ("get", {"name": "p", "q": 1}, 'argument "q" is not known'),
        ("get", {b"q": "p"}, "argument \"b'q'\" is not known"),
        ("get", ["p"], "arguments must be a map, not an array"),
        ("put", {"shape": {}}, 'argument "shape.name" is missing'),
        (
            "put",
            {"shape": {"name": "n", "cornrs": []}},
            'argument "shape.cornrs" is not known; did you mean "corners"?',
        ),
        (
            "put",
            {"shape": {"name": "n", "corners": [{}, {"z": 1}]}},
            'argument "shape.corners.1.z" is not known',
        ),
        (
            "put",
            {"shape": {"name": "n", "inner": {"name": "m", "inner": {"nme": ""}}}},
            'argument "shape.inner.inner.nme" is not known; did you mean "name"?',
        ),
        (
            "put",
            {"shape": {"name": "n", "corners": [{"labels": {"a": None}}]}},
            'argument "shape.corners[0].labels[...]": expected str, got nil',
        ),
    ],
)
def test_the_culprit_is_named(method: str, data: Any, text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        bind(method, data)
    message = str(caught.value).replace("corners[...].labels", "corners[0].labels")
    assert message == f"toy.v1.{method}: {text}"


def test_binary_in_a_text_argument_is_refused_by_path() -> None:
    data = {"shape": {"name": "n", "corners": [{"labels": {"a": "\udcff"}}]}}
    with pytest.raises(
        InvalidArgument, match=r'"shape\.corners\.0\.labels\.a" is text'
    ):
        bind("put", data, escaped=True)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("toys.v1", '; did you mean "toy.v1"?'),
        ("toy.v2", '; did you mean "toy.v1"?'),
        # Only the version is alike.
        ("nope.v1", ""),
    ],
)
def test_a_service_is_guessed_by_its_name_and_not_by_its_version(
    name: str, hint: str
) -> None:
    dispatcher = Dispatcher()
    dispatcher.add(TOY, ToyService(), "pluggd.toy.v1.a")
    with pytest.raises(NotImplemented_) as caught:
        dispatcher.method(f"{name}.get")
    assert caught.value.message == f'unknown service "{name}" of "{name}.get"{hint}'
    with pytest.raises(NotFound) as missing:
        dispatcher.describe(name)
    assert missing.value.message == f'service "{name}": not found{hint}'


def test_services_come_and_go() -> None:
    dispatcher = Dispatcher()
    with pytest.raises(NotImplemented_):
        dispatcher.method("toy.v1.get")
    dispatcher.unavailable(TOY, Unavailable("blocked, because of the moon"))
    with pytest.raises(Unavailable, match="because of the moon"):
        dispatcher.method("toy.v1.get")
    with pytest.raises(Unavailable):
        dispatcher.describe("toy.v1")
    dispatcher.add(TOY, ToyService(), "pluggd.toy.v1.a")
    assert dispatcher.method("toy.v1.get").inline
    assert not dispatcher.method("toy.v1.sleep").inline
    assert dispatcher.services() == {"rpc.v1": None, "toy.v1": None}
    dispatcher.unavailable("toy.v1", FailedPrecondition("disabled"))
    with pytest.raises(FailedPrecondition, match="disabled"):
        dispatcher.method("toy.v1.get")


def test_describe_tells_services_limits_and_errors() -> None:
    dispatcher = Dispatcher()
    dispatcher.add(TOY, ToyService(), "pluggd.toy.v1.a")
    rpc, toy = dispatcher.describe()
    assert (rpc["service"], toy["provider"]) == ("rpc.v1", "pluggd.toy.v1.a")
    assert rpc["limits"]["depth"] == 64
    assert "not_found" in rpc["errors"]
    assert dispatcher.describe("toy.v1") == [toy]
    with pytest.raises(NotFound):
        dispatcher.describe("moon.v1")


@pytest.mark.parametrize("params", [{}, "x", [1, 2, 3], [None, None, None]])
def test_params_of_another_form_are_refused(params: Any) -> None:
    dispatcher = Dispatcher()
    dispatcher.add(TOY, ToyService())
    request = Request(1, "toy.v1.get", params)
    with pytest.raises(InvalidArgument, match="params"):
        dispatcher.prepare(
            dispatcher.method(request.method), request, Session("c1", None)
        )


def test_a_session_forgets_before_it_grows() -> None:
    session = Session("c1", None)
    for number in range(1000):
        session.call(f"n{number}", "", "")
    assert len(session._known) <= Session.KEPT  # pyright: ignore[reportPrivateUsage]


RULES = AccessConfig(
    rules=[
        AccessRule(name="root", uids=[0]),
        AccessRule(name="lab", effect="deny", gids=[100], namespaces=["prod-*"]),
        AccessRule(effect="deny", uids=[1000], methods=["*.delete", "gc.v1.*"]),
    ]
)


@pytest.mark.parametrize(
    ("peer", "namespace", "method", "denied_by"),
    [
        (PEER, "dev", "images.v1.list", ""),
        (PEER, "prod-1", "images.v1.list", 'rule "lab"'),
        (PEER, "dev", "images.v1.delete", 'rule "3"'),
        (PEER, "", "gc.v1.run", 'rule "3"'),
        (Peer(uid=0, gid=100, pid=1), "prod-1", "gc.v1.run", ""),
        (Peer(uid=7, gid=7, pid=1, groups=(4, 100)), "prod-1", "x", 'rule "lab"'),
        (Peer(uid=7, gid=7, pid=1, groups=(4, 101)), "prod-1", "x", ""),
        (None, "prod-1", "gc.v1.run", ""),
    ],
)
def test_the_first_rule_that_matches_decides(
    peer: Peer | None, namespace: str, method: str, denied_by: str
) -> None:
    if not denied_by:
        check_access(RULES, peer, namespace, method)
        return
    with pytest.raises(PermissionDenied) as caught:
        check_access(RULES, peer, namespace, method)
    assert denied_by in str(caught.value)
    assert peer is not None
    assert f"uid {peer.uid}" in str(caught.value)


def test_the_default_may_be_deny() -> None:
    rules = AccessConfig(default="deny", rules=[AccessRule(uids=[1000])])
    check_access(rules, PEER, "", "a.v1.b")
    with pytest.raises(PermissionDenied, match='default = "deny"'):
        check_access(rules, None, "", "a.v1.b")
