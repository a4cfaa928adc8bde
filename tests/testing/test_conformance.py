# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The suites as their users meet them: what they run, skip, refuse and end."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from pluggd.testing.conformance import SUITES, Conformance, Where
from pluggd.testing.conformance.base import NEEDS
from pluggd.testing.conformance.events import EventsConformance

PROVIDER = """
import pytest
import trio
from pluggd.services.metadata import METADATA, Metadata
from pluggd.testing import memory_metadata
from pluggd.testing.conformance.metadata import MetadataConformance
from pluggd.testing.conformance.namespaces import NamespacesConformance

{}
"""


def run(path: Path, body: str, *options: str) -> str:
    """What pytest says of a file of an author, who has configured nothing."""
    (path / "pytest.ini").write_text("[pytest]\n")
    (path / "test_mine.py").write_text(PROVIDER.format(body))
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-ra", "-p", "no:cacheprovider"),
            *("-c", str(path / "pytest.ini"), *options, str(path)),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize("where", SUITES.values(), ids=lambda where: where.suite)
def test_every_suite_says_what_it_is(where: Where) -> None:
    suite = getattr(importlib.import_module(where.module), where.suite)
    assert issubclass(suite, Conformance)
    assert f"`{where.fixture}`" in (inspect.getdoc(suite) or "")
    rules = [name for name in dir(suite) if name.startswith("test_")]
    assert len(rules) >= 5
    for name in rules:
        assert set(getattr(getattr(suite, name), NEEDS, ())) <= set(suite.optional)


@pytest.mark.parametrize("where", SUITES.values(), ids=lambda where: where.suite)
def test_every_optional_capability_belongs_to_a_rule(where: Where) -> None:
    suite = getattr(importlib.import_module(where.module), where.suite)
    needed = {
        capability
        for name in dir(suite)
        for capability in getattr(getattr(suite, name), NEEDS, ())
    }
    assert set(suite.optional) - needed <= {"in_process"}


def test_what_is_not_optional_cannot_be_left_out() -> None:
    with pytest.raises(TypeError, match=r"(?s)lacks names order.*history: past") as e:
        type("Mine", (EventsConformance,), {"lacks": {"order": "too hard"}})
    assert "metadata_log" in str(e.value)


def test_an_author_needs_a_class_and_a_fixture(tmp_path: Path) -> None:
    said = run(
        tmp_path,
        """
class TestMine(MetadataConformance):
    @pytest.fixture
    async def metadata(self):
        async with memory_metadata() as metadata:
            yield metadata
""",
        "-k",
        "record or listing",
    )
    assert " passed" in said
    assert "failed" not in said


def test_what_a_provider_lacks_is_skipped_with_the_reason(tmp_path: Path) -> None:
    said = run(
        tmp_path,
        """
class TestMine(NamespacesConformance):
    lacks = {"in_process": "it is on the moon"}

    @pytest.fixture
    async def namespaces(self):
        raise AssertionError("not asked for")
""",
        "-k",
        "unicode",
    )
    assert "lacks in_process: it is on the moon" in said
    assert "1 skipped" in said


def test_a_fixture_that_is_not_there_is_told(tmp_path: Path) -> None:
    said = run(tmp_path, "class TestMine(NamespacesConformance): ...", "-k", "unicode")
    assert "TestMine has no fixture `namespaces`" in said


def test_a_provider_that_hangs_fails_the_rule_alone(tmp_path: Path) -> None:
    said = run(
        tmp_path,
        """
class Stuck:
    async def create(self, *, namespace):
        await trio.sleep_forever()

class TestMine(NamespacesConformance):
    limit = 0.01

    @pytest.fixture
    async def namespaces(self):
        return Stuck()
""",
        "-k",
        "taken_once",
    )
    assert "TooSlowError" in said
    assert "test_a_name_is_taken_once" in said


def test_a_failed_rule_shows_its_values(tmp_path: Path) -> None:
    said = run(
        tmp_path,
        """
from pluggd.services.namespaces import Namespace

class Forgetful:
    async def create(self, *, namespace):
        return Namespace(name=namespace.name)

class TestMine(NamespacesConformance):
    @pytest.fixture
    async def namespaces(self):
        return Forgetful()
""",
        "-k",
        "got_as_it_was_given",
    )
    assert "labels={'k': 'v'}" in said
