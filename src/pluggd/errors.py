# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The closed set of error classes, and the one place where they meet the wire.

A class says whose fault it is and what the caller can do about it; the message
names the thing, the rule and the way out. Every part of pluggd raises these;
anything else that escapes a service is a bug and becomes `Internal`.

The set and its meaning follow containerd's errdefs, so that a client that knows
gRPC codes finds itself at home. Adding a class is a change of the wire contract.
"""

from __future__ import annotations

from typing import ClassVar


class PluggdError(Exception):
    """Base of the set; never raised itself. `str(error)` is the whole message."""

    code: ClassVar[str] = "unknown"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        return self.message


# --- the request cannot be served as it stands: the caller changes it


class InvalidArgument(PluggdError):
    """The request is wrong whatever the state of the daemon."""

    code = "invalid_argument"


class OutOfRange(PluggdError):
    """An offset or a cursor lies past the end of what exists."""

    code = "out_of_range"


class NotImplemented_(PluggdError):
    """The method, type or option is not known here."""

    code = "not_implemented"


class Unauthenticated(PluggdError):
    """The caller did not say who it is, or was not believed."""

    code = "unauthenticated"


class PermissionDenied(PluggdError):
    """The caller is known and may not do this."""

    code = "permission_denied"


# --- the state of the daemon forbids it: the caller looks again


class NotFound(PluggdError):
    """The named object does not exist."""

    code = "not_found"


class AlreadyExists(PluggdError):
    """The named object exists already."""

    code = "already_exists"


class FailedPrecondition(PluggdError):
    """The object is not in a state that allows this."""

    code = "failed_precondition"


class Aborted(PluggdError):
    """Somebody else changed the object in between; read it and try again."""

    code = "aborted"


# --- not now: the caller waits, frees something, or gives up


class Unavailable(PluggdError):
    """Busy or down for the moment; the same call may succeed later."""

    code = "unavailable"


class ResourceExhausted(PluggdError):
    """A limit, a quota or a disk is full."""

    code = "resource_exhausted"


class Canceled(PluggdError):
    """The caller cancelled, or its connection closed."""

    code = "canceled"


class DeadlineExceeded(PluggdError):
    """The time that the caller gave has passed."""

    code = "deadline_exceeded"


# --- the daemon is at fault


class DataLoss(PluggdError):
    """What is stored is not what was stored."""

    code = "data_loss"


class Internal(PluggdError):
    """A bug: logged with its traceback, sent without it."""

    code = "internal"


class Unknown(PluggdError):
    """An error whose class is not known to this side."""

    code = "unknown"


CLASSES: dict[str, type[PluggdError]] = {
    cls.code: cls
    for cls in (
        InvalidArgument,
        OutOfRange,
        NotImplemented_,
        Unauthenticated,
        PermissionDenied,
        NotFound,
        AlreadyExists,
        FailedPrecondition,
        Aborted,
        Unavailable,
        ResourceExhausted,
        Canceled,
        DeadlineExceeded,
        DataLoss,
        Internal,
        Unknown,
    )
}


def to_text(error: PluggdError) -> str:
    """`code: message`, the form of the default wire profile."""
    return f"{error.code}: {error.message}"


def from_text(text: str) -> PluggdError:
    """The error that `to_text` wrote; foreign text becomes `Unknown`, unchanged."""
    code, separator, message = text.partition(": ")
    cls = CLASSES.get(code)
    if cls is None or not separator:
        return Unknown(text)
    return cls(message)


def from_code(code: str, message: str) -> PluggdError:
    """The error of a class by name; an unknown name becomes `Unknown`."""
    return CLASSES.get(code, Unknown)(message)
