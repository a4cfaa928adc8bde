# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The line below an error that says what to do, where that is known for sure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pluggd.client.lost import ConnectFailed, ConnectionLost
from pluggd.errors import PluggdError

if TYPE_CHECKING:
    from pluggd.cli.ctl.app import Fields


def hint(error: PluggdError) -> str:
    """A sentence, or "" where the message says all there is to say."""
    if isinstance(error, ConnectFailed):
        if "permission denied" in error.message:
            return (
                "The socket belongs to another user or group: run as one of them, or "
                "set the owner, group and mode in the daemon's config."
            )
        if "not a socket" in error.message:
            return (
                "The address is the socket file: pluggd.sock in the daemon's state "
                "directory unless configured (--address or PLUGGD_ADDRESS)."
            )
        return (
            "Is the daemon running? Start it with: pluggd run   "
            "(another socket: --address or PLUGGD_ADDRESS)"
        )
    if isinstance(error, ConnectionLost):
        return "Whether the command had an effect is not known; look before repeating."
    if "filters: parse error" in error.message:
        return (
            "A filter is FIELD==VALUE, FIELD!=VALUE or FIELD~=REGEX; a value with "
            """slashes stands in quotes, as in 'name=="docker.io/library/hello:latest"'."""
        )
    if error.code == "not_found":
        return _where(error.message)
    if error.code == "already_exists":
        return _again(error.message)
    return ""


def way_out(plugin: Fields) -> str:
    """What to do about a plugin that failed, as `introspection.v1.plugins` shows it."""
    if plugin.get("status") != "failed":
        return ""
    again = f"`pluggctl plugins restart {plugin['uri']}`"
    if plugin.get("origin") == "bundled" and plugin.get("took"):
        # It is not the operator's to mend, and reads no file of the code anew.
        return f"mend what the reason names, then {again}"
    text = "mend its file and `pluggctl config reload`"
    if plugin.get("kind") and plugin.get("took"):
        text += f"; {again} tries again as it is"
    return text


def _where(message: str) -> str:
    if message.startswith(("image ", "container ", "lease ", "content ", "snapshot ")):
        return (
            "Names belong to a namespace: `pluggctl namespaces ls` shows them, "
            "-n chooses one."
        )
    return ""


def _again(message: str) -> str:
    if message.startswith("container "):
        return (
            "Run it again with: pluggctl tasks start ID; or remove it, with its task: "
            "pluggctl containers rm --force ID"
        )
    if message.startswith("task "):
        return (
            "Once it has stopped, `pluggctl tasks rm` removes it; its container stays."
        )
    return ""
