# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What an operator reads where overlayfs does not work."""

from __future__ import annotations

from pathlib import Path

import pytest

from pluggd.plugin import Skip
from plugins.overlayfs.probe import working_options


def test_a_reason_is_said_once_and_names_no_directory_of_the_try(
    tmp_path: Path,
) -> None:
    # Refused with every option that is tried, whoever runs this.
    with pytest.raises(Skip, match="overlayfs does not work in") as caught:
        working_options(str(tmp_path), ("no_such_option=1",))
    said = str(caught.value)
    assert str(tmp_path) in said
    assert "probe-" not in said
    assert "with userxattr" not in said
    assert "or use the snapshotter native" in said
    assert list(tmp_path.iterdir()) == []
