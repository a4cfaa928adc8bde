# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The pure rules: what a header asks for, when to try again, where nobody may lead."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pluggd.errors import DataLoss, InvalidArgument, PermissionDenied
from plugins.registry.challenge import Challenge, read_challenges
from plugins.registry.hosts import find_hosts, is_localhost
from plugins.registry.reach import Reach, check_leads, reach_of
from plugins.registry.retry import backoff, retry_after


def test_the_best_challenge_comes_first() -> None:
    found = read_challenges(
        [
            'Basic realm="a, b", Digest nonce=x',
            'Bearer realm="https://t/token",service=reg, scope="a b",error="x\\"y"',
        ]
    )
    assert found == [
        Challenge(
            "bearer",
            {
                "realm": "https://t/token",
                "service": "reg",
                "scope": "a b",
                "error": 'x"y',
            },
        ),
        Challenge("basic", {"realm": "a, b"}),
    ]


@pytest.mark.parametrize("text", ["", "Negotiate", "=", '"', "Bearer=", ",,,"])
def test_a_strange_challenge_is_none(text: str) -> None:
    assert read_challenges([text]) == []


def test_waiting_doubles_up_to_a_bound() -> None:
    assert [backoff(n, 1.0) for n in (1, 2, 3, 20)] == [0.25, 0.5, 1.0, 15.0]
    assert backoff(3, 0.0) == 0.5


def test_retry_after_is_seconds_or_a_date() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert retry_after("7") == 7
    assert retry_after("Thu, 01 Jan 2026 00:00:30 GMT", now) == 30
    assert retry_after("Wed, 31 Dec 2025 00:00:30 GMT", now) == 0
    assert [retry_after(text) for text in (None, "", "soon", "-1", "1e9")] == [None] * 5


@pytest.mark.parametrize(
    ("address", "wanted"),
    [
        ("8.8.8.8", Reach.PUBLIC),
        ("10.1.2.3", Reach.PRIVATE),
        ("fd00::1", Reach.PRIVATE),
        ("127.0.0.2", Reach.HERE),
        ("::1", Reach.HERE),
        ("0.0.0.0", Reach.HERE),
        ("169.254.169.254", Reach.HERE),
        ("::ffff:127.0.0.1", Reach.HERE),
        ("fe80::1%eth0", Reach.HERE),
    ],
)
def test_how_far_inside_an_address_is(address: str, wanted: Reach) -> None:
    assert reach_of(address) == wanted


async def look(host: str) -> Sequence[str]:
    table = {"public": ["8.8.8.8"], "inside": ["8.8.4.4", "10.0.0.1"]}
    if host not in table:
        raise OSError("unknown")
    return table[host]


@pytest.mark.parametrize(
    ("source", "target", "error"),
    [
        (("https", "public"), ("https", "8.8.4.4"), None),
        (("https", "public"), ("https", "unknown"), None),
        (("https", "public"), ("https", "inside"), PermissionDenied),
        (("https", "public"), ("https", "169.254.169.254"), PermissionDenied),
        (("https", "inside"), ("https", "127.0.0.1"), PermissionDenied),
        (("http", "127.0.0.1"), ("http", "10.0.0.1"), None),
        (("https", "public"), ("http", "public"), DataLoss),
        (("https", "public"), ("file", "public"), DataLoss),
    ],
)
async def test_nobody_leads_further_inside(
    source: tuple[str, str],
    target: tuple[str, str],
    error: type[Exception] | None,
) -> None:
    if error is None:
        await check_leads(source, target, "redirect", look)
        return
    with pytest.raises(error):
        await check_leads(source, target, "redirect", look)


async def test_a_trusted_host_may_be_inside() -> None:
    source, target = ("https", "public"), ("https", "inside")
    await check_leads(source, target, "redirect", look, ["inside"])


# --- hosts.toml


def test_localhost_needs_no_tls() -> None:
    assert [is_localhost(name) for name in ("localhost:5000", "127.9.9.9", "[::1]:1")]
    assert not is_localhost("localhost.example")

    def url(name: str, **options: bool) -> str:
        (host,) = find_hosts(name, "", **options)
        return host.url

    assert url("localhost:5000") == "http://localhost:5000/v2"
    assert url("localhost:443") == "https://localhost:443/v2"
    assert url("localhost") == "https://localhost/v2"
    assert url("r.example:5000") == "https://r.example:5000/v2"
    assert url("r.example:5000", plain_http=True) == "http://r.example:5000/v2"
    assert url("docker.io") == "https://registry-1.docker.io/v2"


def hosts_file(directory: Path, name: str, text: str) -> None:
    (directory / name).mkdir()
    (directory / name / "hosts.toml").write_text(text)


def test_mirrors_come_first_in_the_order_of_the_file(tmp_path: Path) -> None:
    hosts_file(
        tmp_path,
        "r.example_5000_",
        """
server = "https://upstream.example"
[host."http://z:1"]
capabilities = ["pull"]
[host."https://a:2/prefix"]
override_path = true
dial_timeout = "500ms"
ca = "ca.crt"
[host."https://a:2/prefix".header]
x-token = ["a", "b"]
""",
    )
    z, a, server = find_hosts("r.example:5000", str(tmp_path))
    assert [z.url, a.url] == ["http://z:1/v2", "https://a:2/prefix"]
    assert server.url == "https://upstream.example/v2"
    assert (z.mirror, a.mirror, server.mirror) == (True, True, True)
    assert z.capabilities == {"pull"}
    assert a.headers == {"x-token": "a, b"}
    assert a.dial_timeout == 0.5
    assert a.ca == (str(tmp_path / "r.example_5000_/ca.crt"),)
    assert [
        one.url for one in find_hosts("r.example:5000", str(tmp_path), push=True)
    ] == [
        a.url,
        server.url,
    ]


def test_the_first_directory_counts(tmp_path: Path) -> None:
    hosts_file(tmp_path, "_default", 'server = "https://fallback"')
    assert find_hosts("r:1", str(tmp_path))[0].name == "fallback"
    hosts_file(tmp_path, "r:1", 'server = "https://own"')
    assert find_hosts("r:1", str(tmp_path))[0].name == "own"


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("server = 1", "server"),
        ("surver = 'x'", 'unknown key "surver"; there are'),
        ("[host.'https://a']\ncapability = []", 'unknown key "capability" in host'),
        ("[host.'https://a']\ncapabilities = ['pul']", 'unknown capability "pul"'),
        ("[host.'ftp://a']", "must be http:// or https://"),
        ("[host.'https://a']\ndial_timeout = 'x'", 'like "5s"'),
        ("[host", "hosts.toml: "),
    ],
)
def test_a_bad_file_is_named_with_what_is_wrong(
    tmp_path: Path, text: str, match: str
) -> None:
    hosts_file(tmp_path, "r", text)
    with pytest.raises(InvalidArgument, match=match) as caught:
        find_hosts("r", str(tmp_path))
    assert str(tmp_path) in caught.value.message
