# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The configuration in force as values with their origins, for whoever asks the daemon.

`pluggd config dump` reads the files as they are now; this is what the daemon was started
with. Who may call the daemon need not be who may read its files, so secrets stay here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, cast

from pluggd.core.config import Configuration, dotted
from pluggd.core.config_files import Key
from pluggd.errors import NotFound
from pluggd.model.record import Record, replace, to_plain
from pluggd.services.introspection import ConfigValue

SECRET = re.compile(
    r"(^|_)(password|passwd|secret|token|credentials?|auth|private_key)s?$"
)
"""Keys whose values are not told."""


def config_values(configuration: Configuration, uri: str = "") -> list[ConfigValue]:
    """The options of a plugin, or of the daemon itself. Raises NotFound for a plugin
    that is not known, or whose options are not, since it could not be loaded."""
    if uri:
        record = configuration.records.get(uri)
        if record is None:
            raise NotFound(f'options of plugin "{uri}": not found')
        prefix: Key = ("plugins", uri)
    else:
        record = replace(
            configuration.settings,
            root=str(configuration.root),
            state=str(configuration.state),
            rpc=replace(configuration.settings.rpc, address=str(configuration.address)),
            plugins={},
        )
        prefix = ()
    return [
        _value(configuration, prefix, key, value)
        for key, value in _walk(record)
        if prefix or key != ("plugins",)
    ]


def _walk(record: Record, path: Key = ()) -> Iterator[tuple[Key, object]]:
    for name in record.__struct_fields__:
        value = getattr(record, name)
        if isinstance(value, Record):
            yield from _walk(value, (*path, name))
        else:
            yield (*path, name), value


def _value(
    configuration: Configuration, prefix: Key, key: Key, value: object
) -> ConfigValue:
    hidden = bool(value) and bool(SECRET.search(key[-1]))
    return ConfigValue(
        key=dotted(key),
        value=None if hidden else without_secrets(to_plain(value)),
        origin=configuration.sources.where((*prefix, *key)),
        hidden=hidden,
    )


def without_secrets(value: object) -> Any:
    """Plain data with "(hidden)" for what looks like a secret in maps inside of it."""
    if isinstance(value, list):
        return [without_secrets(one) for one in cast("list[object]", value)]
    if isinstance(value, Mapping):
        return {
            key: "(hidden)" if one and SECRET.search(key) else without_secrets(one)
            for key, one in cast("Mapping[str, object]", value).items()
        }
    return value
