# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""`pluggctl content fsck`: what is on the disk against what is recorded."""

from __future__ import annotations

import click

from pluggd.cli.ctl.app import App, Fields, Leaf, pass_app
from pluggd.cli.ctl.output import clean, json_document, note, out, short_duration, size


@click.command(cls=Leaf)
@click.option("--deep", is_flag=True, help="Also read everything and compare digests.")
@click.option(
    "--repair",
    is_flag=True,
    help="Remove what is stray, and serve damaged blobs to nobody until they are sent "
    "again.",
)
@click.option(
    "--store", multiple=True, metavar="NAME", help="Only this one: content, snapshot."
)
@pass_app
def fsck(app: App, deep: bool, repair: bool, store: tuple[str, ...]) -> None:
    """Check that every file has a record and every record its bytes.

    Covers blobs, ingests and snapshots of all namespaces, while they are used. Exits
    with 1 when something is found that is not repaired.
    """
    asked = {"deep": deep, "repair": repair, "stores": list(store)}
    report = app.call("fsck.v1.check", asked)
    findings: list[Fields] = report.get("findings", [])
    failed: dict[str, str] = report.get("failed", {})
    if app.json:
        json_document(report)
    else:
        for finding in findings:
            _show(finding)
        for name, reason in failed.items():
            out(f"{clean(name)}: the check failed: {clean(reason)}")
        _sum_up(report, findings)
    left = report.get("total", 0) - sum(1 for f in findings if f.get("repaired"))
    if left or failed:
        raise click.exceptions.Exit(1)


def _show(finding: Fields) -> None:
    what = finding.get("object") or finding.get("path", "")
    taken = f" ({size(finding['bytes'])})" if finding.get("bytes") else ""
    out(f"{finding['problem']}: {finding['store']}: {clean(what)}{taken}")
    if finding.get("path") and finding["path"] != what:
        out(f"  {clean(finding['path'])}")
    out(f"  {clean(finding.get('meaning', ''))}")
    if finding.get("repaired"):
        out("  repaired")
    elif finding.get("remedy"):
        out(f"  to do: {clean(finding['remedy'])}")


def _sum_up(report: Fields, findings: list[Fields]) -> None:
    checked = ", ".join(
        f"{count} {clean(name)}" for name, count in report.get("checked", {}).items()
    )
    total = report.get("total", 0)
    repaired = sum(1 for finding in findings if finding.get("repaired"))
    found = f"{total} findings" if total != 1 else "1 finding"
    result = f"{found}, {repaired} repaired" if total else "nothing is wrong"
    how = "with their bytes, " if report.get("deep") else ""
    took = short_duration(report.get("elapsed", 0))
    note(f"checked {checked or 'nothing'}, {how}in {took}: {result}")
    if total > len(findings):
        note(
            f"only the first {len(findings)} are shown: deal with these, then check again"
        )
