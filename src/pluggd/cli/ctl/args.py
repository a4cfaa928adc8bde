# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What users type: labels, durations, and names to complete.

A bad one is a usage error that shows the form that was expected.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

import click
from click.shell_completion import CompletionItem

_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_part = re.compile(r"(\d+(?:\.\d+)?)([smhd]?)")


def pairs(values: Iterable[str], *, what: str = "label") -> dict[str, str]:
    """`k=v ...` as a map; a bare `k=` gives an empty value, which removes a label."""
    found: dict[str, str] = {}
    for value in values:
        key, equals, text = value.partition("=")
        if not key or not equals:
            raise click.UsageError(f"{what} {value!r} is not of the form KEY=VALUE")
        found[key] = text
    return found


class Duration(click.ParamType[float]):
    """Seconds: `90`, `90s`, `15m`, `24h`, `7d`, or several joined (`1h30m`)."""

    name = "duration"

    def convert(
        self,
        value: str | float,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> float:
        if isinstance(value, float | int):
            return float(value)
        parts = _part.findall(value)
        if not parts or "".join(number + unit for number, unit in parts) != value:
            self.fail(f"{value!r} is no duration such as 90s, 15m, 24h", param, ctx)
        return sum(float(number) * _UNITS[unit] for number, unit in parts)


DURATION = Duration()


Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem[str]]]


def completer(method: str, field: str, key: str) -> Completer:
    """Names of what the daemon has; limited, and silent when it cannot be asked.

    A shell shows what completion writes in the middle of the user's line, so there
    is nobody to tell about an error.
    """

    def complete(
        ctx: click.Context, _: click.Parameter, incomplete: str
    ) -> list[CompletionItem[str]]:
        from pluggd.cli.ctl.completion import app_of
        from pluggd.errors import PluggdError

        try:
            with app_of(ctx).client as client:
                answer = client.call(method, {}, timeout=1.0)
        except PluggdError:
            return []
        names = [str(item.get(key, "")) for item in answer.get(field, [])]
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]

    return complete


IMAGES = completer("images.v1.list", "images", "name")
NAMESPACES = completer("namespaces.v1.list", "namespaces", "name")
LEASES = completer("leases.v1.list", "leases", "id")
CONTAINERS = completer("containers.v1.list", "containers", "id")
SNAPSHOTS = completer("snapshots.v1.list", "snapshots", "name")
TASKS = completer("tasks.v1.list", "tasks", "id")
DIGESTS = completer("content.v1.list", "infos", "digest")
SERVICES = completer("introspection.v1.describe", "services", "service")
PLUGINS = completer("introspection.v1.plugins", "plugins", "uri")
