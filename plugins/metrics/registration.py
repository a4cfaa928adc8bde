# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""How the plugin is started; what HTTP needs is imported only where it is wished."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from pluggd.errors import Unavailable
from pluggd.plugin import Context, Registration, hookimpl
from pluggd.services.daemon import DAEMON
from pluggd.services.metrics import METRICS, Metrics

from .config import Config, parse_listen
from .service import MetricsService


@asynccontextmanager
async def start(ctx: Context[Config]) -> AsyncGenerator[Metrics]:
    config = ctx.config
    service = MetricsService(ctx.get(DAEMON))
    if config.listen:
        await _listen(ctx, service)
    yield service


async def _listen(ctx: Context[Config], service: MetricsService) -> None:
    import trio

    from .http import HttpServer

    config = ctx.config
    host, port = parse_listen(config.listen, allow_remote=config.allow_remote)
    try:
        (listener,) = await trio.open_tcp_listeners(port, host=host)
    except OSError as error:
        raise Unavailable(
            f"cannot listen on {config.listen}: {error.strerror or error}: choose "
            "another port, or end what has it"
        ) from error
    server = HttpServer(
        service.text, ctx.log, connections=config.connections, timeout=config.timeout
    )
    host, port = listener.socket.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    ctx.export("url", f"http://{shown}:{port}/metrics")
    ctx.spawn(server.serve, listener, name="http")


@hookimpl
def pluggd_register() -> Registration[Metrics, Config]:
    return Registration(
        provides=METRICS,
        id="prometheus",
        start=start,
        config=Config,
        requires=(DAEMON,),
        description="Figures for Prometheus, over the socket and over HTTP",
    )
