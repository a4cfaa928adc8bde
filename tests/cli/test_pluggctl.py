# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Every command of pluggctl against a real daemon in a process of its own."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pluggd.cli import pluggctl
from pluggd.cli.ctl.raw import signature_of
from pluggd.testing.images import Layout, small_layout

ROOTED = ("--label", "containerd.io/gc.root=1")
HELLO = "docker.io/library/hello:latest"


@dataclass
class Result:
    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Ctl = Callable[..., Result]


def wait_for(address: Path, process: subprocess.Popen[bytes]) -> None:
    import socket

    end = time.monotonic() + 30
    while time.monotonic() < end:
        with socket.socket(socket.AF_UNIX) as probe:
            if probe.connect_ex(str(address)) == 0:
                return
        assert process.poll() is None, "the daemon ended"
        time.sleep(0.02)
    raise AssertionError("the daemon does not listen")


@contextmanager
def daemon_with(config: str) -> Generator[Path]:
    """The address of a daemon while the block runs."""
    with tempfile.TemporaryDirectory(prefix="pluggd-", dir="/tmp") as directory:
        root = Path(directory)
        (root / "config.toml").write_text(config)
        address = root / "sock"
        with (
            (root / "log").open("wb") as log,
            subprocess.Popen(
                [
                    *(sys.executable, "-m", "pluggd", "run"),
                    *("--config", str(root / "config.toml")),
                    *("--root", str(root / "root"), "--state", str(root / "state")),
                    *("--address", str(address)),
                ],
                stderr=log,
            ) as process,
        ):
            try:
                wait_for(address, process)
                yield address
            finally:
                process.terminate()
                process.wait(20)


@pytest.fixture(scope="module")
def daemon() -> Generator[Path]:
    """The address of a daemon of this module."""
    with daemon_with("") as address:
        yield address


@pytest.fixture
def space(request: pytest.FixtureRequest) -> str:
    """A namespace of the test's own."""
    return "t" + hashlib.sha256(request.node.name.encode()).hexdigest()[:12]  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]


@pytest.fixture
def ctl(
    daemon: Path,
    space: str,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Ctl:
    """Run pluggctl in this process, in the test's namespace."""
    monkeypatch.setenv("PLUGGD_ADDRESS", str(daemon))
    monkeypatch.setenv("PLUGGD_NAMESPACE", space)

    def run(*arguments: str, stdin: bytes = b"") -> Result:
        (tmp_path / "stdin").write_bytes(stdin)
        with (tmp_path / "stdin").open() as file:
            monkeypatch.setattr(sys, "stdin", file)
            try:
                code = pluggctl.run(list(arguments))
            finally:
                sys.stdout.flush()
        captured = capfd.readouterr()
        return Result(code, captured.out, captured.err)

    return run


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    (tmp_path / "a.tar").write_bytes(small_layout().tar())
    return tmp_path / "a.tar"


def ok(result: Result) -> Result:
    assert result.code == 0, result
    return result


# --- the daemon


def test_version_shows_both_ends(ctl: Ctl) -> None:
    both = ok(ctl("--json", "version")).json
    assert both["client"]["version"] == both["server"]["version"]
    assert "UUID:" in ok(ctl("version")).out


def test_health_is_zero_when_all_services_serve(ctl: Ctl) -> None:
    assert ok(ctl("health")).lines[0] == "serving"
    assert ctl("health", "nope.v1").code == 4


def test_stats_show_calls_plugins_and_figures(ctl: Ctl) -> None:
    ok(ctl("namespaces", "ls"))
    assert ctl("images", "inspect", "nope").code == 4
    lines = ok(ctl("stats")).lines
    calls = {line.split()[0]: line.split() for line in lines if line}
    assert lines[0].split() == [
        "METHOD",
        "CALLS",
        "NOW",
        "MEAN",
        "P50",
        "P99",
        "ERRORS",
    ]
    assert int(calls["namespaces.v1.list"][1]) >= 1
    assert calls["images.v1.get"][-1].startswith("not_found=")
    assert calls["pluggd.images.v1.store"][1] == "ok"
    assert calls["loop_lag_seconds"]
    assert calls["gc_runs{result=ok}"]


def test_stats_of_some_names_and_as_json(ctl: Ctl) -> None:
    header, *rows = ok(ctl("stats", "gc_runs", "process_")).lines
    assert header.split() == ["FIGURE", "VALUE"]
    assert {row.split("{")[0].partition("_")[0] for row in rows} == {"gc", "process"}
    figures = ok(ctl("stats", "gc_runs", "--json")).json["figures"]
    assert [one["name"] for one in figures] == ["gc_runs"]
    assert ok(ctl("stats", "nope")).lines == ["no figure has such a name"]


def test_watched_stats_have_rates(daemon: Path) -> None:
    command = [sys.executable, "-m", "pluggd.cli.pluggctl", "-a", str(daemon)]
    command += ["stats", "call", "connections_accepted", "--watch", "0.1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        seen = next(line for line in process.stdout if "PER S" in line)
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        assert process.wait(20) == 130
    assert seen.split()[:3] == ["METHOD", "CALLS", "PER"]


def test_one_plugin_is_shown_with_its_options_and_neighbours(ctl: Ctl) -> None:
    uri = "pluggd.metadata.v1.lmdb"
    lines = ok(ctl("plugins", "info", uri)).lines
    text = "\n".join(lines)
    assert lines[0] == f"URI:          {uri}"
    assert "Status:       ok" in lines
    assert "Tasks:        2" in lines
    assert "Used by:" in text
    assert "pluggd.images.v1.store" in text
    assert any(line.split()[::2] == ["quota_bytes", "default"] for line in lines)
    found = ok(ctl("plugins", "info", uri, "--json")).json
    assert "pluggd.images.v1.store" in found["required_by"]
    assert {"key", "origin"} <= set(found["config"][0])


def test_info_of_no_plugin_says_which_was_meant(ctl: Ctl) -> None:
    result = ctl("plugins", "info", "pluggd.image.v1.store")
    assert result.code == 4
    assert 'did you mean "pluggd.images.v1.store"?' in result.err


def test_the_graph_is_coloured_on_a_terminal_only(
    ctl: Ctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "\x1b[" not in ok(ctl("plugins", "graph")).out
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert (
        "\x1b[32mpluggd.images.v1.store [ok]\x1b[0m"
        in ok(ctl("plugins", "graph")).lines
    )
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[" not in ok(ctl("plugins", "graph")).out


def test_plugins_are_listed_by_filter_and_by_uri(ctl: Ctl) -> None:
    header, *rows = ok(ctl("plugins", "ls")).lines
    assert header.split() == ["KIND", "ID", "PLATFORMS", "STATUS", "REASON"]
    assert any(row.split()[3] == "ok" for row in rows)
    uri = "pluggd.images.v1.store"
    assert ok(ctl("plugins", "ls", "-q", uri)).lines == [uri]
    assert ok(ctl("plugins", "ls", "-q", "id==store", "--json")).json
    assert f"URI:          {uri}" in ok(ctl("plugins", "ls", "-d", uri)).lines


def test_the_graph_has_three_forms(ctl: Ctl) -> None:
    text = ok(ctl("plugins", "graph")).out
    assert "requires pluggd.metadata.v1.lmdb" in text
    # An alternative that nobody chose is none of what a plugin requires.
    assert "requires pluggd.metadata.v1.sqlite" not in text
    dot = ok(ctl("plugins", "graph", "--format", "dot")).out
    assert '"pluggd.images.v1.store" -> "pluggd.metadata.v1.lmdb"' in dot
    mermaid = ok(ctl("plugins", "graph", "--format", "mermaid")).lines
    assert mermaid[0] == "graph LR"
    edges = ok(ctl("--json", "plugins", "graph")).json["edges"]
    assert {"from", "to", "kind"} == set(edges[0])


# --- namespaces


def test_namespaces_from_create_to_rm(ctl: Ctl, space: str) -> None:
    ok(ctl("namespaces", "create", f"{space}-a", "k=v", "x=y"))
    assert ctl("namespaces", "create", f"{space}-a").code == 5
    assert ok(ctl("namespaces", "label", f"{space}-a", "x=", "z=1")).out == "k=v,z=1\n"
    assert f"{space}-a" in ok(ctl("ns", "ls", "-q")).lines
    result = ctl("namespaces", "rm", f"{space}-a", f"{space}-nope")
    assert (result.code, result.out) == (4, f"{space}-a\n")
    assert "not_found" in result.err
    assert ctl("namespaces", "rm", f"{space}-nope", "--missing-ok").code == 0


def test_a_namespace_in_use_is_kept_and_says_why(ctl: Ctl, space: str) -> None:
    ok(ctl("containers", "create", "c1"))
    result = ctl("namespaces", "rm", space)
    assert result.code == 1
    assert "failed_precondition" in result.err
    assert "containers" in result.err


# --- images


def test_an_image_goes_in_by_file_and_comes_out_the_same(
    ctl: Ctl, archive: Path, tmp_path: Path
) -> None:
    assert ok(ctl("images", "import", str(archive))).lines[0].split()[0] == HELLO
    out = tmp_path / "out.tar"
    ok(ctl("images", "export", str(out), HELLO))
    with tarfile.open(out) as tar:
        assert "index.json" in tar.getnames()
    ok(ctl("images", "rm", HELLO))
    ok(ctl("images", "import", "-", stdin=out.read_bytes()))
    again = tmp_path / "again.tar"
    ok(ctl("images", "export", str(again), HELLO))
    assert again.read_bytes() == out.read_bytes()


def test_a_listing_has_sizes_and_platforms(ctl: Ctl, archive: Path) -> None:
    ok(ctl("images", "import", str(archive)))
    header, row = ok(ctl("images", "ls")).lines
    columns = ["REF", "TYPE", "DIGEST", "SIZE", "PLATFORMS", "STATUS", "UNPACKED"]
    assert header.split() == [*columns, "LABELS"]
    assert row.split()[-4:] == ["linux/amd64", "complete", "-", "-"]
    (found,) = ok(ctl("images", "ls", "--json")).json
    assert found["platforms"] == ["linux/amd64"]
    assert (found["status"], found["unpacked"]) == ("complete", [])
    layout = small_layout()
    assert found["size"] == sum(len(blob) for blob in layout.blobs.values())
    assert ok(ctl("images", "ls", "-q", "name~=hello")).lines == [HELLO]
    assert ok(ctl("images", "ls", "-q", "name==nope")).lines == []


def test_an_image_is_unpacked_and_its_files_are_counted_and_compared(
    ctl: Ctl, archive: Path, tmp_path: Path
) -> None:
    native = ("--snapshotter", "native")
    ok(ctl("images", "import", "--unpack", *native, str(archive)))
    (found,) = ok(ctl("images", "ls", "--json")).json
    assert found["unpacked"] == ["native"]
    assert ok(ctl("images", "check")).lines[1].split()[-1] == "native"
    snapshotter, chain = ok(ctl("images", "unpack", *native, HELLO)).lines[0].split()
    assert snapshotter == "native"
    header, content, *snapshots, total = ok(ctl("images", "usage", HELLO)).lines
    assert header.split() == ["WHERE", "KEY", "SIZE", "INODES"]
    assert content.split()[:3] == ["content", "4", "blobs"]
    assert [line.split()[0] for line in snapshots] == ["native", "native"]
    assert snapshots[-1].split()[1] == chain
    assert total.split()[0] == "total"
    kept = ok(ctl("snapshots", "diff", *native, "--keep", chain)).json
    assert kept["annotations"]["containerd.io/uncompressed"].startswith("sha256:")
    assert ok(ctl("leases", "ls", "-q")).lines == []


def test_inspect_draws_a_tree(ctl: Ctl, archive: Path) -> None:
    ok(ctl("images", "import", str(archive)))
    lines = ok(ctl("images", "inspect", HELLO)).lines
    assert lines[0] == HELLO
    assert [line.split()[:2] for line in lines[2:]] == [
        ["├──", "config"],
        ["├──", "layer"],
        ["└──", "layer"],
    ]
    tree = ok(ctl("--json", "images", "inspect", HELLO)).json["tree"]
    assert tree["children"][0]["config"]["architecture"] == "amd64"


def test_a_tag_is_another_name(ctl: Ctl, archive: Path) -> None:
    ok(ctl("images", "import", str(archive)))
    assert ok(ctl("images", "tag", HELLO, "a:1", "b:1")).lines == ["a:1", "b:1"]
    assert ctl("images", "tag", HELLO, "a:1").code == 5
    assert ctl("images", "tag", "--force", HELLO, "a:1").code == 0
    targets = {
        item["target"]["digest"] for item in ok(ctl("images", "ls", "--json")).json
    }
    assert len(targets) == 1


def test_a_tag_in_another_namespace_shares_every_byte(
    ctl: Ctl, archive: Path, space: str
) -> None:
    ok(ctl("images", "import", str(archive)))
    other = f"{space}-b"
    result = ok(ctl("images", "tag", HELLO, "theirs:1", "--to-namespace", other))
    assert result.err == f"namespace {other}: 4 blobs shared, 0 B copied\n"
    assert "complete (3/3)" in ok(ctl("-n", other, "images", "check")).out
    assert ok(ctl("-n", other, "leases", "ls", "--json")).json == []
    mine = ok(ctl("content", "ls", "--json")).json
    theirs = ok(ctl("-n", other, "content", "ls", "--json")).json
    assert [item.get("labels") for item in mine] == [
        item.get("labels") for item in theirs
    ]
    # It is complete of itself: the references were copied too.
    ok(ctl("images", "rm", "--sync", HELLO))
    assert ok(ctl("content", "ls", "-q")).lines == []
    assert ok(ctl("-n", other, "images", "check", "-q")).lines == ["theirs:1"]
    again = ok(ctl("-n", other, "images", "tag", "theirs:1", "t2", "-n", other))
    assert again.lines == ["t2"]


def test_check_tells_an_incomplete_image(ctl: Ctl, archive: Path) -> None:
    ok(ctl("images", "import", str(archive)))
    tree = ok(ctl("--json", "images", "inspect", HELLO)).json["tree"]
    ok(ctl("content", "rm", tree["children"][1]["digest"]))
    result = ctl("images", "check")
    assert (result.code, "incomplete (2/3)" in result.out) == (1, True)
    assert ctl("images", "check", "-q").lines == []


def test_a_check_of_nothing_is_no_success(ctl: Ctl, archive: Path) -> None:
    ok(ctl("images", "check"))
    ok(ctl("images", "import", str(archive)))
    ok(ctl("images", "check", f'name=="{HELLO}"'))
    result = ctl("images", "check", 'name=="hello"')
    assert (result.code, result.out) == (4, "")
    assert 'no image matches name=="hello"' in result.err


def test_an_index_shows_its_platforms(ctl: Ctl, tmp_path: Path) -> None:
    layout = Layout()
    arm = layout.add_image([{"a": b"arm"}], architecture="arm64")
    amd = layout.add_image([{"a": b"amd"}])
    index = layout.add_index([arm, amd])
    layout.name(index, "docker.io/library/multi:1")
    (tmp_path / "m.tar").write_bytes(layout.tar())
    ok(ctl("images", "import", "--all-platforms", str(tmp_path / "m.tar")))
    (found,) = ok(ctl("images", "ls", "--json")).json
    assert found["platforms"] == ["linux/arm64", "linux/amd64"]
    everything = sum(len(blob) for blob in layout.blobs.values())
    assert 0 < found["size"] < everything  # one platform


def test_removing_tries_every_name(ctl: Ctl, archive: Path) -> None:
    ok(ctl("images", "import", str(archive)))
    ok(ctl("images", "tag", HELLO, "a:1"))
    result = ctl("images", "rm", "a:1", "nope", HELLO)
    assert (result.code, result.lines) == (4, ["a:1", HELLO])
    assert 'image "nope"' in result.err


def test_sync_collects_also_when_the_last_name_was_missing(
    ctl: Ctl, archive: Path
) -> None:
    ok(ctl("images", "import", str(archive)))
    assert ctl("images", "rm", "--sync", HELLO, "nope").code == 4
    assert ok(ctl("content", "ls", "-q")).lines == []


def test_labels_of_an_image_are_set_and_removed(ctl: Ctl, archive: Path) -> None:
    ok(ctl("images", "import", "--label", "a=1", str(archive)))
    assert ok(ctl("images", "label", HELLO, "a=", "b=2")).out == "b=2\n"
    assert ctl("images", "label", "nope", "b=2").code == 4
    assert ctl("images", "label", HELLO, "b").code == 2


def test_a_failed_export_leaves_no_file(ctl: Ctl, tmp_path: Path) -> None:
    (tmp_path / "kept.tar").write_text("before")
    assert ctl("images", "export", str(tmp_path / "kept.tar"), "nope").code == 4
    assert (tmp_path / "kept.tar").read_text() == "before"
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".kept")]


def test_a_bad_archive_is_refused_and_a_missing_file_named(
    ctl: Ctl, tmp_path: Path
) -> None:
    (tmp_path / "bad.tar").write_bytes(b"no tar at all")
    bad = ctl("images", "import", str(tmp_path / "bad.tar"))
    assert (bad.code, "invalid_argument" in bad.err) == (1, True)
    missing = ctl("images", "import", str(tmp_path / "nope.tar"))
    assert missing.code == 1
    assert "nope.tar: No such file" in missing.err
    folder = ctl("images", "import", str(tmp_path))
    assert folder.code == 1
    assert f"tar -C {tmp_path} -c . | pluggctl images import -" in folder.err


def test_a_command_without_a_result_is_json_too(ctl: Ctl) -> None:
    assert ok(ctl("snapshots", "cleanup")).out == ""
    assert ok(ctl("snapshots", "cleanup", "--json")).json == {}


def test_a_name_in_the_place_of_a_filter_is_told_how_to_write_one(ctl: Ctl) -> None:
    result = ctl("images", "ls", HELLO)
    assert (result.code, "filters: parse error" in result.err) == (1, True)
    assert f"""'name=="{HELLO}"'""" in result.err
    assert ctl("images", "ls", f'name=="{HELLO}"').code == 0


# --- content


def test_a_blob_goes_in_and_out(ctl: Ctl) -> None:
    digest = f"sha256:{hashlib.sha256(b'hello').hexdigest()}"
    result = ok(
        ctl("content", "ingest", "r", *ROOTED, "--label", "k=v", stdin=b"hello")
    )
    assert result.out == f"{digest}\n"
    assert ok(ctl("content", "get", digest)).out == "hello"
    assert ok(ctl("content", "info", digest)).json["labels"]["k"] == "v"
    assert ok(ctl("content", "label", digest, "k=")).out == f"{ROOTED[1]}\n"
    assert ok(ctl("content", "ls")).lines[1].split()[:3] == [digest, "5", "B"]
    assert ok(ctl("content", "active")).lines == ["REF  SIZE  TOTAL  AGE"]
    assert ok(ctl("content", "rm", digest)).lines == [digest]
    assert ctl("content", "get", digest).code == 4


def test_an_ingest_that_is_not_as_expected_is_refused_and_shown(ctl: Ctl) -> None:
    result = ctl("content", "ingest", "r", "--expected-size", "4", stdin=b"hello")
    assert (result.code, "failed_precondition" in result.err) == (1, True)
    (active,) = ok(ctl("content", "active", "--json")).json
    assert active["ref"] == "r"


def test_what_is_there_already_can_be_ingested_again(ctl: Ctl) -> None:
    first = ok(ctl("content", "ingest", "r", *ROOTED, stdin=b"twice"))
    again = ok(ctl("content", "ingest", "s", stdin=b"twice"))
    named = ok(
        ctl("content", "ingest", "t", "--expected-digest", first.lines[0], stdin=b"")
    )
    assert first.lines == again.lines == named.lines


def test_an_ingest_that_nothing_keeps_says_so(ctl: Ctl) -> None:
    alone = ok(ctl("content", "ingest", "r", stdin=b"alone"))
    assert "the next collection removes it" in alone.err
    kept = ok(ctl("content", "ingest", "s", *ROOTED, stdin=b"kept"))
    assert kept.err == ""


def test_a_lease_holds_what_is_ingested_under_it(ctl: Ctl) -> None:
    ok(ctl("leases", "create", "--id", "l1"))
    digest = ok(ctl("content", "ingest", "r", "--lease", "l1", stdin=b"held")).lines[0]
    ok(ctl("gc", "run", "--wait"))
    assert ok(ctl("content", "ls", "-q")).lines == [digest]
    ok(ctl("leases", "rm", "--sync", "l1"))
    assert ok(ctl("content", "ls", "-q")).lines == []


# --- leases, containers


def test_leases_and_their_resources(ctl: Ctl) -> None:
    assert ok(ctl("leases", "create", "--id", "l1", "--flat", "k=v")).out == "l1\n"
    (lease,) = ok(ctl("leases", "ls", "--json")).json
    assert lease["labels"]["k"] == "v"
    assert lease["labels"]["containerd.io/gc.flat"] == "true"
    assert "containerd.io/gc.expire" in lease["labels"]
    digest = f"sha256:{'0' * 64}"
    ok(ctl("leases", "resources", "l1", "add", "content", digest))
    assert ok(ctl("leases", "resources", "l1", "--json")).json == [
        {"id": digest, "type": "content"}
    ]
    ok(ctl("leases", "resources", "l1", "rm", "content", digest))
    assert ok(ctl("leases", "resources", "l1")).lines == ["TYPE  ID"]
    assert ok(ctl("leases", "rm", "--sync", "l1")).lines == ["l1"]
    assert ctl("leases", "rm", "l1").code == 4


def test_a_lease_without_an_end_has_no_expiry(ctl: Ctl) -> None:
    ok(ctl("leases", "create", "--id", "l1", "-x", "0"))
    (lease,) = ok(ctl("leases", "ls", "--json")).json
    assert "containerd.io/gc.expire" not in lease.get("labels", {})


def test_containers_from_create_to_rm(ctl: Ctl, tmp_path: Path) -> None:
    (tmp_path / "spec.json").write_text('{"ociVersion": "1.0.2"}')
    spec = str(tmp_path / "spec.json")
    ok(ctl("containers", "create", "c1", "--image", HELLO, "--spec", spec))
    assert ok(ctl("c", "ls")).lines[1].split() == ["c1", HELLO, "io.containerd.runc.v2"]
    assert ok(ctl("containers", "info", "c1")).json["image"] == HELLO
    assert ok(ctl("containers", "info", "--spec", "c1")).json == {"ociVersion": "1.0.2"}
    assert ok(ctl("containers", "rm", "c1")).lines == ["c1"]
    assert ctl("containers", "info", "c1").code == 4


# --- events, gc


def test_records_can_be_removed_where_no_tasks_can_run(ctl: Ctl) -> None:
    # As for a plain user, or without a runtime on the machine.
    config = '[plugins."pluggd.tasks.v1.oci"]\nruntimes = ["none-such"]'
    with daemon_with(config) as address:
        assert ctl("-a", str(address), "health", "tasks.v1").code == 1
        ok(ctl("-a", str(address), "containers", "create", "c1"))
        ok(ctl("-a", str(address), "containers", "rm", "c1"))


def test_where_tasks_are_disabled_a_record_goes_by_force(ctl: Ctl) -> None:
    with daemon_with('disabled_plugins = ["pluggd.tasks.v1.oci"]') as address:
        ok(ctl("-a", str(address), "containers", "create", "c1"))
        refused = ctl("-a", str(address), "containers", "rm", "c1")
        assert (refused.code, "disabled" in refused.err) == (1, True)
        ok(ctl("-a", str(address), "containers", "rm", "--force", "c1"))


def test_disabling_what_others_need_is_done_as_asked(ctl: Ctl) -> None:
    metadata = "pluggd.metadata.v1.lmdb"
    with daemon_with("") as address:
        at = ("-a", str(address), "plugins")
        lines = ok(ctl(*at, "disable", metadata)).lines
        assert lines[-1].startswith(f"{metadata}: stop: disabled (")
        assert any("images" in line and ": blocked (" in line for line in lines)
        # To start what still cannot be is not, though it is no worse off for it.
        done = ctl(*at, "restart", "pluggd.images.v1.store")
        assert (done.code, "blocked" in done.out) == (1, True)
        assert "blocked" not in ok(ctl(*at, "enable", metadata)).out


def test_past_events_are_shown_and_filtered(ctl: Ctl, space: str) -> None:
    ok(ctl("containers", "create", "c1"))
    ok(ctl("containers", "rm", "c1"))
    only = f"namespace=={space},topic~=^/containers"
    lines = ok(ctl("events", "--since", "0", "--no-follow", only)).lines
    assert [line.split()[1:3] for line in lines] == [
        [space, "/containers/create"],
        [space, "/containers/delete"],
    ]
    printed = ok(ctl("events", "--json", "--since", "0", "--no-follow", only)).lines
    first = json.loads(printed[0])
    assert first["event"]["value"]["id"] == "c1"
    since = str(first["seq"])
    assert len(ok(ctl("events", "--since", since, "--no-follow", only)).lines) == 1


def test_following_events_ends_quietly_with_ctrl_c(daemon: Path, ctl: Ctl) -> None:
    ok(ctl("containers", "create", "c1"))
    process = subprocess.Popen(
        [sys.executable, "-m", "pluggd.cli.pluggctl", "events", "--since", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (130, b"")


def test_gc_runs_and_explains(ctl: Ctl, archive: Path) -> None:
    ok(ctl("images", "import", str(archive)))
    tree = ok(ctl("--json", "images", "inspect", HELLO)).json["tree"]
    config = tree["children"][0]["digest"]
    lines = ok(ctl("gc", "explain", config)).lines
    assert lines[0].startswith(f"image {HELLO}")
    assert config in lines[-1]
    absent = ctl("gc", "explain", f"sha256:{'0' * 64}")
    assert (absent.code, absent.err) == (4, "")
    absent = ctl("gc", "explain", HELLO)
    assert (absent.code, "--type" in absent.err) == (4, True)
    assert (
        ok(ctl("gc", "explain", "--type", "image", HELLO)).lines[0].startswith("image")
    )
    assert "removed" in ok(ctl("gc", "run", "--wait")).out
    assert ok(ctl("gc", "run", "--wait", "--full", "--json")).json["full"] is True
    assert "Policy:" in ok(ctl("gc", "status")).out
    assert ok(ctl("gc", "plan")).lines[0].split() == ["TYPE", "NAMESPACE", "NAME"]


# --- any method


def test_call_speaks_json_both_ways(ctl: Ctl) -> None:
    assert ok(ctl("call", "images.v1.list")).json in ({}, {"images": []})
    write = {
        "ref": "r",
        "action": "commit",
        "data": {"$bytes": "aGVsbG8="},
        "labels": {"containerd.io/gc.root": "1"},
    }
    digest = ok(ctl("call", "content.v1.write", json.dumps(write))).json["digest"]
    read = ok(ctl("call", "content.v1.read", json.dumps({"digest": digest}))).json
    assert read["data"] == {"$bytes": "aGVsbG8="}
    arguments = json.dumps({"digest": digest}).encode()
    ok(ctl("call", "content.v1.info", "-", stdin=arguments))


def test_call_streams_one_item_per_line(ctl: Ctl) -> None:
    items = b'{"$bytes": "aGVs"}\n{"$bytes": "bG8="}\n'
    given = '{"ref": "r", "labels": {"containerd.io/gc.root": "1"}}'
    answer = ok(ctl("call", "content.v1.ingest", given, stdin=items))
    digest = json.loads(answer.lines[-1])["info"]["digest"]
    fetched = ok(ctl("call", "content.v1.fetch", json.dumps({"digest": digest})))
    assert json.loads(fetched.lines[0]) == {"$bytes": "aGVsbG8="}


def test_call_tells_what_is_wrong(ctl: Ctl) -> None:
    assert ctl("call", "images.v1.list", "{").code == 2
    assert ctl("call", "images.v1.list", "[]").code == 2
    unknown = ctl("call", "images.v1.get", '{"nam": "x"}')
    assert (unknown.code, "did you mean" in unknown.err) == (1, True)
    assert "not_implemented" in ctl("call", "nope.v1.x").err


def test_methods_are_listed(ctl: Ctl) -> None:
    assert any(line.startswith("images.v1.get ") for line in ok(ctl("methods")).lines)
    one = ok(ctl("methods", "images.v1")).lines
    assert "images.v1.get (name: str) -> {image: Image}" in one
    assert ctl("methods", "nope.v1").code == 4


def test_methods_tell_times_from_other_integers() -> None:
    method = {
        "params": [
            {"name": "after", "type": "list[int]", "format": "time", "required": True},
            {"name": "limit", "type": "int", "required": False, "default": 0},
        ],
        "sends": {"item": "int | nil", "format": "time"},
        "result": "int",
        "result_format": "time",
        "result_key": "at",
    }
    assert signature_of(method) == (
        "(after: list[time], limit: int = 0, -> stream of time | nil) -> {at: time}"
    )


# --- how a run ends


def test_a_daemon_that_is_down_is_named_with_the_way_to_start_it(
    ctl: Ctl, tmp_path: Path
) -> None:
    result = ctl("-a", str(tmp_path / "gone"), "images", "ls")
    assert result.code == 3
    assert f"cannot connect to {tmp_path}/gone: no such file" in result.err
    assert "pluggd run" in result.err


def test_usage_errors_are_two_and_suggest(ctl: Ctl) -> None:
    result = ctl("imges", "ls")
    assert (result.code, "did you mean 'images'?" in result.err) == (2, True)
    assert ctl("images", "nope").code == 2
    assert ctl("leases", "create", "-x", "soon").code == 2


def test_a_timeout_is_six(ctl: Ctl) -> None:
    poll = '{"wait": 30, "filters": ["topic==nope"]}'
    result = ctl("--timeout", "0.1", "call", "events.v1.poll", poll)
    assert result.code == 6
    assert "deadline_exceeded" in result.err


@pytest.mark.parametrize("words", [["events", "--since", "0"], ["plugins", "ls"]])
def test_a_reader_that_leaves_is_no_error_to_talk_about(
    daemon: Path, ctl: Ctl, words: list[str]
) -> None:
    ok(ctl("containers", "create", "c1"))
    done = subprocess.run(
        [
            *("bash", "-c", '"$@" | true; echo "${PIPESTATUS[0]}"', "-"),
            *(sys.executable, "-m", "pluggd.cli.pluggctl", *words),
        ],
        capture_output=True,
        timeout=30,
        check=True,
    )
    assert (done.stdout, done.stderr) == (b"141\n", b"")


# --- start-up and completion


def modules_after(*arguments: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "pluggd.cli.pluggctl", *arguments],
        capture_output=True,
        text=True,
        timeout=30,
    )
    return {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}


def test_the_usual_commands_start_without_the_heavy_modules(
    daemon: Path, ctl: Ctl
) -> None:
    heavy = {"trio", "msgspec", "rich", "asyncio", "pluggd.services.images"}
    assert not heavy & modules_after("images", "ls", "-q")
    assert not heavy & modules_after("plugins", "ls")
    assert not (heavy | {"msgpack", "socket"}) & modules_after("--help")
    assert not (heavy | {"click"}) & modules_after("--version")


def test_a_shell_completes_commands_and_names(
    ctl: Ctl, archive: Path, tmp_path: Path, space: str
) -> None:
    ok(ctl("images", "import", str(archive)))
    shim = tmp_path / "pluggctl"
    shim.write_text(f'#!/bin/sh\nexec {sys.executable} -m pluggd.cli.pluggctl "$@"\n')
    shim.chmod(0o755)
    script = f"""
        source <({shim} completion bash)
        COMP_LINE="$1"; COMP_POINT=${{#COMP_LINE}}
        _pluggctl_completion {shim} 2>/dev/null
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """

    def complete(line: str) -> list[str]:
        done = subprocess.run(
            ["bash", "-c", script, "-", line],
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
        return done.stdout.split()

    assert complete("pluggctl im") == ["images"]
    assert complete("pluggctl images inspect docker.io/libr") == [HELLO]
    # bash replaces what follows the last colon
    assert complete("pluggctl images inspect docker.io/library/hello:la") == ["latest"]
    assert "images.v1.get" in complete("pluggctl call images.v1.")
    assert complete("pluggctl methods im") == ["images.v1"]
    assert space in complete("pluggctl -n ")
    assert complete("pluggctl -a /nope images inspect d") == []


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_get_a_script(ctl: Ctl, shell: str) -> None:
    assert "_PLUGGCTL_COMPLETE" in ok(ctl("completion", shell)).out
