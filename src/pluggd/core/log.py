# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Log lines for people (key=value) and for machines (JSON), with who, what and where.

A logger belongs to one daemon object and is in no registry: two daemons in a process
write their own lines. Plugin, request and namespace are put on each line here, so that
nobody has to remember them.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Mapping, MutableMapping
from contextvars import ContextVar
from typing import Any, TextIO, cast

from pluggd.model.record import encode_json
from pluggd.services.call import current_call

LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
current_plugin: ContextVar[str] = ContextVar("current_plugin", default="")
"""The plugin whose task this is, for lines that others write: libraries, warnings."""

# What every LogRecord has by itself; anything else on one was given by its author.
_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class Log(logging.LoggerAdapter[logging.Logger]):
    """An adapter that adds its fields to those of the call instead of replacing them."""

    def process(
        self, msg: Any, kwargs: MutableMapping[str, Any]
    ) -> tuple[Any, MutableMapping[str, Any]]:
        extra = cast("Mapping[str, Any] | None", kwargs.get("extra"))
        kwargs["extra"] = {**(self.extra or {}), **(extra or {})}
        return msg, kwargs

    def with_fields(self, **fields: object) -> Log:
        return Log(self.logger, {**(self.extra or {}), **fields})


def make_log(
    level: str = "info", format: str = "text", stream: TextIO | None = None
) -> Log:
    """A log of its own. level: a key of LEVELS. format: text or json. Without a stream
    it writes to what sys.stderr is at each line."""
    logger = logging.Logger("pluggd", LEVELS[level])  # noqa: LOG001 - in no registry
    logger.addHandler(_Handler(stream))
    log = Log(logger, {})
    set_log(log, level, format)
    return log


def set_log(log: Log, level: str, format: str) -> None:
    """Change what a log made by `make_log` writes; arguments as there."""
    log.logger.setLevel(LEVELS[level])
    for handler in log.logger.handlers:
        handler.setFormatter(JsonFormatter() if format == "json" else TextFormatter())


class _Handler(logging.Handler):
    """Without a stream it looks up sys.stderr at each line: tests replace it."""

    def __init__(self, stream: TextIO | None) -> None:
        super().__init__()
        self._stream = stream

    def emit(self, record: logging.LogRecord) -> None:
        try:
            stream = self._stream or sys.stderr
            stream.write(self.format(record) + "\n")
            stream.flush()
        except Exception:  # noqa: BLE001 - as logging does it: a log must not kill
            self.handleError(record)


def fields_of(record: logging.LogRecord) -> dict[str, object]:
    """Everything that a line says, in the order in which it is written."""
    seconds, fraction = divmod(record.created, 1)
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    fields: dict[str, object] = {
        "time": f"{stamp}.{int(fraction * 1000):03d}Z",
        "level": record.levelname.lower(),
        "msg": record.getMessage(),
    }
    given = {key: value for key, value in vars(record).items() if key not in _OWN}
    plugin = given.pop("plugin", "") or current_plugin.get()
    if plugin:
        fields["plugin"] = plugin
    call = current_call.get()
    if call.request:
        fields["request"] = call.request
    if call.namespace:
        fields["namespace"] = call.namespace
    if not given.get("detail", True):
        del given["detail"]
    fields.update(given)
    return fields


class TextFormatter(logging.Formatter):
    """`time=... level=info msg="..." plugin=... key=value`; a traceback, or the field
    `detail`, follows on lines of its own."""

    def format(self, record: logging.LogRecord) -> str:
        fields = fields_of(record)
        detail = fields.pop("detail", None)
        line = " ".join(f"{key}={_quoted(value)}" for key, value in fields.items())
        if detail:
            line += f"\n{detail}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


class JsonFormatter(logging.Formatter):
    """One JSON object per line; a traceback is its field `traceback`."""

    def format(self, record: logging.LogRecord) -> str:
        fields = fields_of(record)
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        import json  # of all lines in JSON

        return json.dumps(fields, default=str, ensure_ascii=False)


def _quoted(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    if text and not any(c in ' "=\\' or not c.isprintable() for c in text):
        return text
    try:
        return encode_json(text).decode()
    except UnicodeEncodeError:  # a path that is no UTF-8
        import json

        return json.dumps(text, ensure_ascii=False)
