# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What differs between the configuration in force and a new one, and what each
difference asks for. Pure: nothing is applied here."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from enum import StrEnum
from typing import Any

from pluggd.core.config import Configuration, dotted
from pluggd.core.config_files import Key
from pluggd.core.settings import DAEMON_KEYS, PLUGIN_KEYS, Settings
from pluggd.core.toml_text import value_text
from pluggd.model.record import Record, replace, to_plain
from pluggd.services.management import OptionChange
from pluggd.struct import Struct


class Effect(StrEnum):
    """The value is what operators see."""

    LIVE = "live"
    RESTART = "restart"
    DAEMON = "daemon"


def effect_of(key: Key) -> Effect:
    """Of an option of the daemon itself."""
    if key in DAEMON_KEYS:
        return Effect.DAEMON
    return Effect.RESTART if key in PLUGIN_KEYS else Effect.LIVE


class Difference(Struct, frozen=True):
    """key: as a path; `plugins`, the URI and the field for an option of a plugin."""

    key: Key
    old: object
    new: object
    effect: Effect

    @property
    def uri(self) -> str:
        """The plugin whose option it is, or ""."""
        return self.key[1] if self.key[0] == "plugins" else ""

    def told(self, configuration: Configuration) -> OptionChange:
        """For an operator; configuration: the new one."""
        return OptionChange(
            key=dotted(self.key),
            old=_text(self.old, self.key),
            new=_text(self.new, self.key),
            origin=configuration.sources.where(self.key),
            effect=self.effect.value,
        )


def differences(
    old: Configuration,
    new: Configuration,
    live: Callable[[str], Collection[str]],
) -> list[Difference]:
    """All, those of the daemon first. live: the options of a plugin, given by URI, that
    it takes while it runs."""
    found = [
        Difference(key, one, other, effect_of(key))
        for key, one, other in _walk(_resolved(old), _resolved(new), ())
    ]
    for uri in sorted(old.records.keys() & new.records.keys()):
        one, other = old.records[uri], new.records[uri]
        if type(one) is not type(other):
            continue  # the plugin itself changed, and that is found elsewhere
        names = live(uri)
        found += [
            Difference(key, a, b, Effect.LIVE if key[2] in names else Effect.RESTART)
            for key, a, b in _walk(one, other, ("plugins", uri))
        ]
    return found


def in_force(old: Configuration, new: Configuration) -> Configuration:
    """The new configuration, with those options as they were that only a new start of
    the daemon changes."""
    rpc = old.settings.rpc
    settings = replace(
        new.settings,
        root=old.settings.root,
        state=old.settings.state,
        rpc=replace(
            new.settings.rpc,
            address=rpc.address,
            uid=rpc.uid,
            gid=rpc.gid,
            mode=rpc.mode,
        ),
    )
    return Configuration(
        settings,
        old.root,
        old.state,
        old.address,
        new.records,
        new.warnings,
        new.sources,
    )


def _resolved(configuration: Configuration) -> Settings:
    """With the paths that count, given or by default, and without the plugins' part."""
    settings = configuration.settings
    return replace(
        settings,
        imports=[],
        plugins={},
        root=str(configuration.root),
        state=str(configuration.state),
        rpc=replace(settings.rpc, address=str(configuration.address)),
    )


def _walk(old: Record, new: Record, prefix: Key) -> Iterator[tuple[Key, Any, Any]]:
    for name in old.__struct_fields__:
        one, other = getattr(old, name), getattr(new, name)
        if isinstance(one, Record) and type(one) is type(other):
            yield from _walk(one, other, (*prefix, name))
        elif one != other:
            yield (*prefix, name), one, other


def _text(value: object, key: Key) -> str:
    return "" if value is None else value_text(to_plain(value), key[-1])
