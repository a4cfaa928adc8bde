# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The form of a container record, as pure functions; the first fault decides.

Not checked, as in containerd: whether image, snapshot, snapshotter and runtime
exist, and what the specification says.
"""

from __future__ import annotations

from pluggd.errors import InvalidArgument
from pluggd.model.identifiers import validate_identifier
from pluggd.model.labels import validate_labels
from pluggd.services.containers import Container


def validate_container(container: Container, doing: str) -> None:
    """Raises InvalidArgument, beginning with what was being done."""
    try:
        _validate(container)
    except InvalidArgument as error:
        raise InvalidArgument(f"{doing} failed validation: {error}") from None


def _validate(container: Container) -> None:
    _validate_identifier(container.id, "container.ID")
    if "" in container.extensions:
        raise InvalidArgument(
            "container.Extension keys must not be zero-length: invalid argument"
        )
    validate_labels(container.labels, "containers.Labels")
    if not container.runtime.name:
        raise InvalidArgument("container.Runtime.Name must be set: invalid argument")
    if container.spec is None:
        raise InvalidArgument("container.Spec must be set: invalid argument")
    if container.snapshot_key and not container.snapshotter:
        raise InvalidArgument(
            "container.Snapshotter must be set if container.SnapshotKey is set: "
            "invalid argument"
        )
    if container.snapshotter:  # names a plugin
        _validate_identifier(container.snapshotter, "container.Snapshotter")


def _validate_identifier(value: str, what: str) -> None:
    try:
        validate_identifier(value)
    except InvalidArgument as error:
        raise InvalidArgument(f"{what}: {error}") from None


def validate_unchanged(stored: Container, requested: Container) -> None:
    """Raises InvalidArgument when a whole update would change what cannot change."""
    if requested.snapshotter != stored.snapshotter:
        raise InvalidArgument(
            "container.Snapshotter field is immutable: invalid argument"
        )
    if requested.runtime.name != stored.runtime.name:
        raise InvalidArgument(
            "container.Runtime.Name field is immutable: invalid argument"
        )
    if requested.runtime.options not in (None, stored.runtime.options):
        raise InvalidArgument(
            "container.Runtime.Options field is immutable: invalid argument"
        )
