# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Which snapshotter a call means, and the keys that a driver is given."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping

from pluggd.errors import FailedPrecondition, InvalidArgument, NotFound
from pluggd.model.record import decode, encode
from pluggd.services.metadata import Metadata, Transaction
from pluggd.services.namespaces import Namespaces
from pluggd.services.snapshots import Snapshotter

from .records import STORE, DriverKey, Place

DEFAULT_LABEL = "containerd.io/defaults/snapshotter"
_PREFERRED = ("overlayfs", "native")
_ID = "id"
_EPOCH = "snapshots"


class Drivers:
    """The snapshotters that came up. default: as configured."""

    def __init__(
        self,
        drivers: Mapping[str, Snapshotter],
        default: str,
        find_namespaces: Callable[[], Namespaces | None],
    ) -> None:
        self.all = drivers
        self._find_namespaces = find_namespaces
        if default and default not in drivers:
            raise FailedPrecondition(
                f'default = "{default}": {self._not_loaded(default)}: see `pluggctl '
                "plugins ls` for the reason, or choose another: failed precondition"
            )
        names = [*(name for name in _PREFERRED if name in drivers), *sorted(drivers)]
        self.default = default or next(iter(names), "")

    async def name(self, namespace: str, snapshotter: str) -> str:
        """The snapshotter that a call means. Raises InvalidArgument."""
        said = ""
        if not snapshotter:
            snapshotter = await self._of_namespace(namespace)
            if snapshotter:
                said = f' (label {DEFAULT_LABEL} of namespace "{namespace}")'
        name = snapshotter or self.default
        if name not in self.all:
            raise InvalidArgument(f"{self._not_loaded(name)}{said}: invalid argument")
        return name

    def _not_loaded(self, name: str) -> str:
        there = ", ".join(sorted(self.all)) or "none"
        if not name:
            return "snapshotter argument missing, and no snapshotter is loaded"
        return f"snapshotter not loaded: {name}; there is {there}"

    async def _of_namespace(self, namespace: str) -> str:
        namespaces = self._find_namespaces()
        if namespaces is None:
            return ""
        try:
            found = await namespaces.get(name=namespace)
        except NotFound:
            return ""
        return found.labels.get(DEFAULT_LABEL, "")


class Keys:
    """Makes driver keys. None is made twice, whatever happened to daemon or machine.

    A key carries the name of the store, so that what another metadata store once had is
    not taken for a leftover of this one.
    """

    def __init__(self, store: str, epoch: int) -> None:
        self.store = store
        self._epoch = epoch
        self._count = 0

    def next(self, place: Place) -> str:
        self._count += 1
        serial = f"{self._epoch:08d}.{self._count:010d}"
        return str(DriverKey(place.namespace, self.store, serial, place.key))


async def open_keys(metadata: Metadata) -> Keys:
    """With the name of this store, made up at its first start, and the next epoch."""
    fresh = encode(secrets.token_hex(8))

    def begin(txn: Transaction) -> tuple[str, int]:
        stored = txn.get(STORE, "", _ID)
        if stored is None:
            txn.put(STORE, "", _ID, fresh)
        return decode(stored or fresh, str), txn.sequence("", _EPOCH)

    return Keys(*await metadata.update(begin))
