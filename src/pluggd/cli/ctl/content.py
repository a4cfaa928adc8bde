# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""`pluggctl content`: blobs under their digest, and ingests in progress."""

from __future__ import annotations

import click

from pluggd.cli.ctl.app import App, Group, pass_app
from pluggd.cli.ctl.args import DIGESTS, LEASES, pairs
from pluggd.cli.ctl.fsck import fsck
from pluggd.cli.ctl.output import age, clean, json_document, labels, out, size, table
from pluggd.cli.ctl.removal import MISSING_OK, remove_each

ROOT = "containerd.io/gc.root"


@click.group(cls=Group)
def content() -> None:
    """Blobs: stored once, seen by the namespaces that refer to them."""


content.add_command(fsck)


@content.command()
@click.option("-q", "--quiet", is_flag=True, help="Only the digests.")
@click.argument("filters", nargs=-1, metavar="[FILTER]...")
@pass_app
def ls(app: App, quiet: bool, filters: tuple[str, ...]) -> None:
    """List blobs."""
    found = app.each("content.v1.list", "infos", filters)
    if app.json:
        json_document(list(found))
    elif quiet:
        for item in found:
            out(clean(item["digest"]))
    else:
        table(
            ("DIGEST", "SIZE", "AGE", "LABELS"),
            [
                (
                    item["digest"],
                    size(item.get("size", 0)),
                    age(item.get("created_at", 0)),
                    labels(item.get("labels")),
                )
                for item in found
            ],
        )


@content.command()
@click.argument("digest", shell_complete=DIGESTS)
@pass_app
def info(app: App, digest: str) -> None:
    """Show what is known of a blob (always JSON)."""
    json_document(app.call("content.v1.info", {"digest": digest}).get("info", {}))


@content.command()
@click.option("--force", is_flag=True, help="Also to a terminal.")
@click.argument("digest", shell_complete=DIGESTS)
@pass_app
def get(app: App, digest: str, force: bool) -> None:
    """Write a blob to stdout."""
    from pluggd.cli.ctl import blobs

    blobs.to_stdout(app, digest, force=force)


@content.command()
@click.option("--expected-size", type=click.IntRange(min=0), default=0)
@click.option("--expected-digest", default="")
@click.option("--label", multiple=True, metavar="KEY=VALUE")
@click.option(
    "--lease", default="", help="Hold it by this lease.", shell_complete=LEASES
)
@click.argument("ref")
@pass_app
def ingest(
    app: App,
    ref: str,
    expected_size: int,
    expected_digest: str,
    label: tuple[str, ...],
    lease: str,
) -> None:
    """Store stdin as a blob and print its digest; REF names the attempt.

    A blob that nothing refers to is removed by the next collection: use --lease, or
    --label containerd.io/gc.root=1.
    """
    from pluggd.cli.ctl import blobs

    result = blobs.from_stdin(
        app,
        ref,
        total=expected_size,
        expected=expected_digest,
        labels=pairs(label),
        lease=lease,
    )
    if app.json:
        json_document(result)
    else:
        out(clean(result.get("digest", "")))
        if not lease and not any(
            key.startswith(ROOT) for key in result.get("labels", {})
        ):
            click.echo(
                "  Nothing may refer to it yet, and then the next collection removes it:"
                f" see --lease and --label {ROOT}=1",
                err=True,
            )


@content.command()
@click.argument("digest", shell_complete=DIGESTS)
@click.argument("label", nargs=-1, required=True, metavar="KEY=VALUE...")
@pass_app
def label(app: App, digest: str, label: tuple[str, ...]) -> None:
    """Set labels; KEY= removes one."""
    changed = pairs(label)
    answer = app.call(
        "content.v1.update",
        {
            "info": {"digest": digest, "labels": changed},
            "fields": [f"labels.{key}" for key in changed],
        },
    )
    result = answer.get("info", {})
    if app.json:
        json_document(result)
    else:
        out(clean(labels(result.get("labels"))))


@content.command()
@click.option("--sync", is_flag=True, help="Return after a whole collection.")
@click.argument(
    "digests", nargs=-1, required=True, metavar="DIGEST...", shell_complete=DIGESTS
)
@MISSING_OK
@pass_app
def rm(app: App, sync: bool, digests: tuple[str, ...], missing_ok: bool) -> None:
    """Remove blobs from this namespace; the bytes go when no other has them."""
    remove_each(
        app,
        digests,
        "content.v1.delete",
        "digest",
        missing_ok=missing_ok,
        sync=sync,
    )


@content.command()
@click.argument("filters", nargs=-1, metavar="[FILTER]...")
@pass_app
def active(app: App, filters: tuple[str, ...]) -> None:
    """List ingests in progress."""
    answer = app.call("content.v1.list_statuses", {"filters": list(filters)})
    found = answer.get("statuses", [])
    if app.json:
        json_document(found)
        return
    table(
        ("REF", "SIZE", "TOTAL", "AGE"),
        [
            (
                item["ref"],
                size(item.get("offset", 0)),
                size(item["total"]) if item.get("total") else "",
                age(item.get("started_at", 0)),
            )
            for item in found
        ],
    )
