# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What holds for all tests."""

from __future__ import annotations

import signal

from hypothesis import HealthCheck, settings

# How long an example takes, or to think of one, says something about the machine, not
# about the code; and a run of CI that fails must fail again with the same examples.
settings.register_profile(
    "pluggd",
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("pluggd")

# A run in the background of a shell inherits that SIGINT is ignored, and would hand it
# on to the programs that tests interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
