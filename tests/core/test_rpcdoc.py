# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""docs/rpc.md says what the code says, and its examples run."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import trio

from pluggd.core.dispatch import Dispatcher
from pluggd.core.rpcdoc import kinds_with_methods, render
from pluggd.errors import CLASSES
from pluggd.plugin import inline
from pluggd.services.images import IMAGES, Image, ImageList
from pluggd.services.schema import service_schema
from tests.core.server_kit import running

DOC = Path(__file__).parents[2] / "docs" / "rpc.md"
ADDRESS = "/run/pluggd/pluggd.sock"


class SomeImages:
    @inline
    def list(
        self, *, filters: Sequence[str] = (), limit: int = 0, after: str = ""
    ) -> ImageList:
        return ImageList(images=[Image(name="docker.io/library/busybox")])


def test_the_file_is_what_the_code_renders() -> None:
    assert DOC.read_text() == render(), (
        "run: python -m pluggd.core.rpcdoc > docs/rpc.md"
    )


def test_every_method_and_every_code_is_in_it() -> None:
    text = DOC.read_text()
    for kind in kinds_with_methods():
        for method in service_schema(kind).methods:
            assert f"### {method.name}\n" in text
    for code in CLASSES:
        assert f"| `{code}` |" in text


def example(language: str, address: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", DOC.read_text(), re.DOTALL)
    assert found
    assert ADDRESS in found[1]
    return found[1].replace(ADDRESS, address)


async def output_of(command: list[str], tmp_path: Path) -> str:
    dispatcher = Dispatcher()
    dispatcher.add(IMAGES, SomeImages())
    async with running("epoll", tmp_path, dispatcher=dispatcher):
        with trio.fail_after(30):
            done = await trio.run_process(
                command, capture_stdout=True, capture_stderr=True, check=False
            )
    return (done.stdout + done.stderr).decode()


async def test_the_python_example_runs(tmp_path: Path) -> None:
    code = example("python", str(tmp_path / "s"))
    output = await output_of([sys.executable, "-c", code], tmp_path)
    assert output == "{'images': [{'name': 'docker.io/library/busybox'}]}\n"


@pytest.mark.skipif(shutil.which("nvim") is None, reason="needs Neovim")
async def test_the_neovim_example_runs(tmp_path: Path) -> None:
    script = tmp_path / "example.vim"
    script.write_text(example("vim", str(tmp_path / "s")))
    command = ["nvim", "--clean", "--headless", "-S", str(script), "+qall!"]
    output = await output_of(command, tmp_path)
    assert "docker.io/library/busybox" in output


async def test_the_shell_example_sends_a_request(tmp_path: Path) -> None:
    found = re.search(r"printf '([^']*)'", DOC.read_text())
    assert found
    done = await trio.run_process(["printf", found[1]], capture_stdout=True)
    assert done.stdout == b"\x94\x00\x01\xb7introspection.v1.server\x90"
