# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Which entries of an index are wanted."""

from __future__ import annotations

from collections.abc import Sequence

from pluggd.errors import NotFound
from pluggd.model import oci
from pluggd.model.platforms import candidates, default, describe, parse, rank
from pluggd.model.types import Descriptor, Platform


class Platforms:
    """What a caller asked for: some platforms, this machine's, or all.

    name: of the image, for messages. Raises InvalidArgument for what is no platform.
    """

    def __init__(self, name: str, texts: Sequence[str], *, every: bool = False) -> None:
        self._name = name
        self._every = every
        asked = [parse(text) for text in texts] or [default()]
        self._asked = [(platform, candidates(platform)) for platform in asked]

    def choose(self, children: Sequence[oci.Child]) -> list[tuple[Descriptor, bool]]:
        """The best entry for each platform, and whether its platform was asked for,
        which of all is true of those for this machine.

        Raises NotFound with the platforms that there are.
        """
        best: dict[str, Descriptor] = {}
        for platform, wanted in self._asked:
            descriptor = best_entry(children, wanted)
            if descriptor is not None:
                best[descriptor.digest] = descriptor
            elif not self._every:
                raise self._no_match(platform, children)
        if not self._every:
            return [(descriptor, True) for descriptor in best.values()]
        return [(one.descriptor, one.descriptor.digest in best) for one in children]

    def unsettled(self, children: Sequence[oci.Child]) -> bool:
        """Whether an entry that says no platform may be better than those that do."""
        stated = [child for child in children if child.platform is not None]
        return len(stated) < len(children) and not all(
            any(rank(child.platform, wanted) == 0 for child in stated)
            for _, wanted in self._asked
        )

    def _no_match(self, platform: Platform, children: Sequence[oci.Child]) -> NotFound:
        there = sorted(
            {describe(child.platform) for child in children if child.platform}
        )
        return NotFound(
            f'image "{self._name}": no match for platform {describe(platform)}; it has '
            f"{', '.join(there) or 'none'}: not found"
        )


def best_entry(
    children: Sequence[oci.Child], wanted: list[Platform]
) -> Descriptor | None:
    """The first of those that serve best."""
    ranked = [
        (place, child.descriptor)
        for child in children
        if (place := rank(child.platform, wanted)) is not None
    ]
    return min(ranked, key=lambda pair: pair[0])[1] if ranked else None
