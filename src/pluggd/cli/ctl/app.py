# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What every command of pluggctl shares: the global options and the connection.

Also the click classes that load a group when it is named, so that `--help`, a
typing error and shell completion of the first word import no group at all.
Nothing here draws; nothing here knows a service.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from pluggd.cli import wording
from pluggd.client.plain import Fields as Fields

if TYPE_CHECKING:
    from pluggd.client.blocking import Client, Stream

"""Records in one answer to a list; of usual ones, some hundred kilobytes."""

ALIASES = {
    "list": "ls",
    "delete": "rm",
    "del": "rm",
    "remove": "rm",
    "image": "images",
    "i": "images",
    "namespace": "namespaces",
    "ns": "namespaces",
    "plugin": "plugins",
    "container": "containers",
    "c": "containers",
    "task": "tasks",
    "t": "tasks",
    "lease": "leases",
    "snapshot": "snapshots",
    "s": "snapshots",
    "event": "events",
}


class App:
    """The global options of one invocation, and the client that they describe."""

    def __init__(
        self,
        address: str = "",
        namespace: str = "default",
        *,
        json: bool = False,
        timeout: float | None = None,
    ) -> None:
        self._address = address
        self.namespace = namespace
        self.json = json
        self.timeout = timeout
        self._client: Client | None = None

    @property
    def address(self) -> str:
        if not self._address:
            from pluggd.paths import default_address_text

            self._address = default_address_text()
        return self._address

    @property
    def client(self) -> Client:
        """Connected at the first use. Raises blocking.ConnectFailed."""
        if self._client is None:
            from pluggd.client.blocking import Client

            self._client = Client(self.address, namespace=self.namespace)
        return self._client

    def call(
        self,
        method: str,
        args: Mapping[str, Any] | None = None,
        *,
        lease: str | None = None,
        namespace: str | None = None,
        fds: Sequence[int] = (),
    ) -> Fields:
        """As `Client.call`, with the timeout of the command line."""
        return self.client.call(
            method,
            args,
            timeout=self.timeout,
            lease=lease,
            namespace=namespace,
            fds=fds,
        )

    def all_of(
        self,
        method: str,
        key: str,
        filters: Sequence[str] = (),
        more: Mapping[str, Any] = {},
    ) -> list[Fields]:
        """All pages of a list; a whole one may not fit a message.

        more: further arguments of the method.
        """
        return list(self.each(method, key, filters, more))

    def each(
        self,
        method: str,
        key: str,
        filters: Sequence[str] = (),
        more: Mapping[str, Any] = {},
    ) -> Iterator[Fields]:
        """As `all_of`, with no more than a page in memory."""
        from pluggd.client.paging import records

        arguments: Fields = {"filters": [*filters], **more}
        return records(lambda given: self.call(method, given), key, arguments)

    def stream(
        self,
        method: str,
        args: Mapping[str, Any] | None = None,
        *,
        lease: str | None = None,
        namespace: str | None = None,
        fds: Sequence[int] = (),
    ) -> Stream:
        """As `Client.stream`, with the timeout of the command line."""
        return self.client.stream(
            method,
            args,
            timeout=self.timeout,
            lease=lease,
            namespace=namespace,
            fds=fds,
        )

    def close(self) -> None:
        if self._client is not None:
            self._client.close()


pass_app = click.make_pass_decorator(App)


def _set_json(context: click.Context, _: click.Parameter, value: bool) -> None:
    app = context.find_object(App)
    if value and app is not None:
        app.json = True


def _set_namespace(context: click.Context, _: click.Parameter, value: str) -> None:
    app = context.find_object(App)
    if value and app is not None:
        app.namespace = value


def _add_global_options(params: list[click.Parameter]) -> None:
    """Take `--json` and `-n` after a command's name as well as before it."""
    if any(param.name == "json" for param in params):
        return  # the root's own
    params += [
        click.Option(
            ["--json"],
            is_flag=True,
            hidden=True,
            expose_value=False,
            callback=_set_json,
        ),
        click.Option(
            ["-n", "--namespace"],
            default="",
            hidden=True,
            expose_value=False,
            callback=_set_namespace,
        ),
    ]


class Leaf(wording.Command):
    """A command."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _add_global_options(self.params)


class Group(wording.Group):
    """A group that knows the usual other names and guesses at mistyped ones."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _add_global_options(self.params)

    command_class: type[click.Command] | None = Leaf

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        found = super().get_command(ctx, cmd_name)
        if found is None and cmd_name in ALIASES:
            found = super().get_command(ctx, ALIASES[cmd_name])
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        known = self.get_command(ctx, name) is not None
        if not known and not ctx.resilient_parsing and not name.startswith("-"):
            message = f"no such command {name!r}"
            close = difflib.get_close_matches(name, self.list_commands(ctx), 1, 0.5)
            if close:
                message += f"; did you mean {close[0]!r}?"
            ctx.fail(message)
        return super().resolve_command(ctx, args)


class LazyGroup(Group):
    """A group whose members are `{name: ("module:attribute", help)}`."""

    lazy: Mapping[str, tuple[str, str]] = {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = self.lazy.get(ALIASES.get(cmd_name, cmd_name))
        if entry is None:
            return None
        module, _, attribute = entry[0].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(
                [(name, help_) for name, (_, help_) in self.lazy.items()]
            )
