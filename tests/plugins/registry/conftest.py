# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""One real registry for all tests of this folder, filled once."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest

from tests.plugins.registry.registry_kit import (
    Registry,
    copy_in,
    docker_registry,
    make_images,
)


@pytest.fixture(scope="session")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The images, made by umoci."""
    return make_images(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="session")
def storage(layout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a registry that has them."""
    directory = tmp_path_factory.mktemp("registry")
    with docker_registry(directory) as registry:
        copy_in(layout, "single", registry, "library/single:latest")
        copy_in(layout, "many", registry, "library/many:latest")
        copy_in(layout, "multi", registry, "library/multi:latest", "--all")
        copy_in(layout, "unstated", registry, "library/unstated:latest", "--all")
        copy_in(layout, "zstd", registry, "library/zstd:latest")
    return directory


@pytest.fixture
def registry(storage: Path) -> Generator[Registry]:
    """It runs without any login, by plain HTTP."""
    with docker_registry(storage) as running:
        yield running
