# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""`running_daemon` and the client leave what a test raises as it is: no group around
it, whatever nurseries lie between."""

from __future__ import annotations

from pathlib import Path

import pytest

from pluggd.testing import running_daemon

RAISED = [ValueError("x"), pytest.fail.Exception("f"), KeyboardInterrupt()]


@pytest.mark.parametrize("subprocess", [False, True])
@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
async def test_what_the_block_raises_comes_out_as_it_is(
    tmp_path: Path, error: BaseException, subprocess: bool
) -> None:
    with pytest.raises(type(error)):
        async with (
            running_daemon(tmp_path, bundled=False, subprocess=subprocess) as daemon,
            daemon.client(),
        ):
            raise error
