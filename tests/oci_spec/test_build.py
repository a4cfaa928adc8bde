# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Specifications from image configurations and options."""

from __future__ import annotations

from typing import Any

import pytest

from pluggd.errors import InvalidArgument
from pluggd.model.record import to_plain
from pluggd.model.types import Mount
from pluggd.oci_spec.build import ConfigFields, build_spec
from pluggd.services.specs import SpecOptions

IMAGE = ConfigFields(
    user="app", env=["A=1", "B=2"], entrypoint=["/entry"], cmd=["x"], working_dir="/w"
)


def spec(config: ConfigFields = IMAGE, **options: Any) -> Any:
    made = build_spec(
        config,
        SpecOptions(**options),
        architecture="amd64",
        cgroup="/cg",
        hostname="host",
    )
    return to_plain(made)


def test_the_image_says_what_is_run() -> None:
    process = spec()["process"]
    assert process["args"] == ["/entry", "x"]
    assert process["cwd"] == "/w"
    assert process["user"] == {"username": "app"}
    assert process["env"][1:] == ["A=1", "B=2"]
    assert process["env"][0].startswith("PATH=")
    assert process["noNewPrivileges"] is True


def test_options_win_over_the_image() -> None:
    process = spec(
        args=["y"], env=["A=9", "B", "C=3"], cwd="/o", user="0:0", terminal=True
    )["process"]
    assert process["args"] == ["/entry", "y"]
    assert process["cwd"] == "/o"
    assert process["user"] == {"username": "0:0"}
    assert process["env"][1:] == ["TERM=xterm", "A=9", "C=3"]
    assert spec(entrypoint=["/mine"])["process"]["args"] == ["/mine"]


def test_a_container_without_a_command_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="args: the image names no command"):
        spec(ConfigFields())


def test_the_default_is_closed() -> None:
    made = spec()
    assert "CAP_SYS_ADMIN" not in made["process"]["capabilities"]["effective"]
    assert len(made["process"]["capabilities"]["bounding"]) == 14
    assert made["linux"]["seccomp"]["defaultAction"] == "SCMP_ACT_ERRNO"
    assert "/proc/kcore" in made["linux"]["maskedPaths"]
    assert {one["type"] for one in made["linux"]["namespaces"]} == {
        *("pid", "ipc", "uts", "mount", "network")
    }
    assert made["linux"]["resources"]["devices"][0]["allow"] is False
    assert (made["hostname"], made["linux"]["cgroupsPath"]) == ("host", "/cg")


def allowed(made: Any, name: str) -> list[Any]:
    calls = made["linux"]["seccomp"]["syscalls"]
    return [one for one in calls if name in one["names"]]


def test_system_calls_follow_capabilities() -> None:
    assert allowed(spec(), "mount") == []
    assert allowed(spec(cap_add=["SYS_ADMIN"]), "mount")
    (clone3,) = allowed(spec(), "clone3")
    assert (clone3["action"], clone3["errnoRet"]) == ("SCMP_ACT_ERRNO", 38)
    (clone,) = allowed(spec(), "clone")
    assert clone["args"][0]["op"] == "SCMP_CMP_MASKED_EQ"
    assert "seccomp" not in spec(seccomp="unconfined")["linux"]


def test_capabilities_are_added_after_drops() -> None:
    found = spec(cap_drop=["ALL"], cap_add=["net_admin", "CAP_KILL"])
    assert found["process"]["capabilities"]["effective"] == [
        "CAP_KILL",
        "CAP_NET_ADMIN",
    ]
    with pytest.raises(InvalidArgument, match="cap_add: 'FLY' is no capability"):
        spec(cap_add=["FLY"])


def test_limits() -> None:
    resources = spec(memory=1 << 20, cpus=1.5, pids=9)["linux"]["resources"]
    assert resources["memory"] == {"limit": 1 << 20}
    assert resources["cpu"] == {"quota": 150000, "period": 100000}
    assert resources["pids"] == {"limit": 9}
    with pytest.raises(InvalidArgument, match="cpus: says in another form"):
        spec(cpus=1.0, cpu_quota=5)
    with pytest.raises(InvalidArgument, match="memory = -1"):
        spec(memory=-1)


def test_mounts_are_checked_and_bound() -> None:
    made = spec(mounts=[Mount(source="/src", target="/dst", options=["ro"])])
    assert made["mounts"][-1] == {
        "destination": "/dst",
        "type": "bind",
        "source": "/src",
        "options": ["rbind", "ro"],
    }
    with pytest.raises(InvalidArgument, match="mounts: target: 'dst'"):
        spec(mounts=[Mount(source="/src", target="dst")])


def test_the_host_network_brings_its_files() -> None:
    made = spec(host_network=True)
    assert "network" not in {one["type"] for one in made["linux"]["namespaces"]}
    bound = {one["destination"] for one in made["mounts"] if one["type"] == "bind"}
    assert bound == {"/sys", "/etc/hosts", "/etc/resolv.conf"}


def test_privileged_takes_the_walls_down() -> None:
    made = spec(privileged=True)
    assert "CAP_SYS_ADMIN" in made["process"]["capabilities"]["effective"]
    assert "seccomp" not in made["linux"]
    assert "maskedPaths" not in made["linux"]
