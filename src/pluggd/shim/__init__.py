# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The process beside a container: it outlives the daemon, so that nothing is lost.

One runs for each task. It is the parent of the container's processes, holds their
standard streams and terminals, writes what they print to a log, and writes their exit
statuses to files before it tells anybody. It ends by itself with the last of them.
Why it exists, and why one each: docs/decisions/0007-one-shim-per-task.md.

Every container pays for its memory, so these modules import nothing of pluggd but each
other, and of the standard library only what is compiled in or a single extension module
(`python -I -S`; 2.7 MB of private memory, where `socket`, `signal` and `json` would
make 5). The daemon imports `frames` and `logformat`, which are pure, and starts
`launch`.
"""
