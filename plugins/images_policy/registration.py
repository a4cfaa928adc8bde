# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""How the rules for images are put over the image store."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from pluggd.model.figures import counter
from pluggd.plugin import Context, Registration, hookimpl
from pluggd.services.images import IMAGES, Images

from .config import Config, rules


@asynccontextmanager
async def start(ctx: Context[Config]) -> AsyncGenerator[Images]:
    # Here, since most daemons do not name it in [decorate].
    from .policy import PolicedImages

    images = PolicedImages(ctx.decorated(IMAGES), rules(ctx.config))

    def reload(config: Config) -> None:
        images.rules = rules(config)
        ctx.export("allow", ", ".join(config.allow))
        ctx.export("required_labels", ", ".join(config.required_labels))

    reload(ctx.config)
    ctx.on_reload(reload)
    ctx.export_figures(
        lambda: [
            counter("images_refused", "Images refused by the rules.", images.refused)
        ]
    )
    yield images


@hookimpl
def pluggd_register() -> Registration[Images, Config]:
    return Registration(
        provides=IMAGES,
        id="policy",
        start=start,
        config=Config,
        description="Allows images of some repositories, with some labels",
        live=("allow", "required_labels"),
        decorates=True,
    )
