# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Runs the checks that the stores gave to the metadata store, and adds them up.

Knows no file and no record: what a finding is, a store says.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Sequence

from pluggd.errors import InvalidArgument, PluggdError
from pluggd.model.record import replace
from pluggd.services.fsck import Check, Finding, FsckReport
from pluggd.services.metadata import Metadata

_MOST = 1000

Log = logging.Logger | logging.LoggerAdapter[logging.Logger]


class FsckService:
    """See `pluggd.services.fsck.Fsck` for what the method promises."""

    def __init__(self, metadata: Metadata, log: Log) -> None:
        self._metadata = metadata
        self._log = log

    async def check(
        self, *, deep: bool = False, repair: bool = False, stores: Sequence[str] = ()
    ) -> FsckReport:
        begun = time.monotonic_ns()
        checks = self._checks(stores)
        findings: list[Finding] = []
        checked: Counter[str] = Counter()
        failed: dict[str, str] = {}
        for name, check in checks.items():
            # One store that cannot be read must not hide what is wrong in the others.
            try:
                result = await check(deep=deep, repair=repair)
            except (PluggdError, OSError) as error:
                self._log.exception("the check of %s failed", name)
                failed[name] = _readable(str(error))
                continue
            findings += map(_presentable, result.findings)
            checked.update(result.checked)
        for finding in findings[:_MOST]:
            self._log.warning(
                "%s: %s %s: %s",
                finding.store,
                finding.problem,
                finding.object or finding.path,
                finding.meaning,
            )
        return FsckReport(
            findings=findings[:_MOST],
            total=len(findings),
            checked=dict(checked),
            failed=failed,
            deep=deep,
            elapsed=time.monotonic_ns() - begun,
        )

    def _checks(self, stores: Sequence[str]) -> dict[str, Check]:
        """The checks to run, by name of the store. Raises InvalidArgument."""
        known = {
            resource.type.strip("/"): resource.check
            for resource in self._metadata.resources()
            if resource.check is not None
        }
        for name in stores:
            if name not in known:
                raise InvalidArgument(
                    f'store "{name}": there is no such store to check, there is '
                    f"{', '.join(known) or 'none'}: invalid argument"
                )
        return {name: known[name] for name in (stores or known)}


def _presentable(finding: Finding) -> Finding:
    return replace(
        finding,
        path=_readable(finding.path),
        object=_readable(finding.object),
        meaning=_readable(finding.meaning),
    )


def _readable(text: str) -> str:
    """A file may have a name that is no UTF-8, and no text goes out that is none."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
