# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What the documents name is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path.relative_to(ROOT)
    for pattern in ("*.md", "docs/**/*.md", "plugins/*/README.md", "bench/*.md")
    for path in ROOT.glob(pattern)
)
FOLDERS = "src|plugins|docs|tests|scripts|bench|changelog\\.d|core|objects|wire|model"
PATH = re.compile(rf"(?<![\w/.-])((?:{FOLDERS})(?:/[\w.-]+)+)")
"""A path as running text names one, from the root or from the package."""


def without_code(text: str) -> str:
    """Without the blocks that show sessions and programs."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"^    .*\n", "", text, flags=re.MULTILINE)


def links(page: Path) -> list[str]:
    text = without_code((ROOT / page).read_text())
    found = re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", text)
    return [link for link in found if "://" not in link]


def anchors(page: Path) -> set[str]:
    """As the usual renderers make them of headings."""
    titles = re.findall(r"^#+ (.*)", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in titles}


def test_the_pages_are_found() -> None:
    assert {Path("README.md"), Path("ARCHITECTURE.md"), Path("docs/rpc.md")} <= set(
        PAGES
    )


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in links(page):
        name, _, anchor = link.partition("#")
        target = (ROOT / page).parent / name if name else ROOT / page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_path_that_is_named_exists(page: Path) -> None:
    text = re.sub(r"\]\([^)]*\)", "]", without_code((ROOT / page).read_text()))
    for named in PATH.findall(text):
        name = named.rstrip(".")
        places = [ROOT / name, ROOT / "src" / "pluggd" / name]
        assert any(place.exists() for place in places), name


def test_every_decision_is_listed_in_order() -> None:
    folder = ROOT / "docs" / "decisions"
    records = sorted(path.name for path in folder.glob("0*.md"))
    assert re.findall(r"\((0[\w-]+\.md)\)", (folder / "README.md").read_text()) == (
        records
    )
    for number, name in enumerate(records, 1):
        assert name.startswith(f"{number:04}-")
        assert (folder / name).read_text().startswith(f"# {number}. ")
