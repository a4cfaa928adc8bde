# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The specification of a container from the configuration of its image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pluggd.errors import InvalidArgument, NotFound
from pluggd.model import oci, platforms
from pluggd.model.identifiers import validate_identifier
from pluggd.model.record import decode_json, to_plain
from pluggd.model.types import Any, Descriptor, Platform
from pluggd.services import call
from pluggd.services.content import Content
from pluggd.services.images import Images
from pluggd.services.specs import Generated, SpecOptions

if TYPE_CHECKING:
    from pluggd.oci_spec.build import ConfigFields

MAX_HOSTNAME = 63

MAX_DEPTH = 8
"""Of indexes in indexes."""

STOP_SIGNAL = "io.containerd.image.config.stop-signal"
RESERVED = ("containerd.io/", "io.containerd.", "io.cri-containerd")
"""Labels that an image may not give to a container: they mean something to the daemon."""


class SpecService:
    def __init__(self, images: Images, content: Content) -> None:
        self._images = images
        self._content = content

    async def generate(
        self,
        *,
        id: str,
        image: str = "",
        platform: str = "",
        options: SpecOptions | None = None,
    ) -> Generated:
        # Here, since a start does without: the defaults and seccomp's profile are large.
        from pluggd.oci_spec.build import ConfigFields, ImageConfig, build_spec
        from pluggd.oci_spec.records import TYPE_URL

        validate_identifier(id)
        options = options or SpecOptions()
        manifest = config = ""
        fields = ConfigFields()
        if image:
            target = (await self._images.get(name=image)).target
            found = await self._manifest(target, image, platform)
            manifest, config = found.digest, await self._config_of(found)
            data = await self._read(config)
            read = decode_json(data, ImageConfig, f"config {config}")
            fields = read.config or fields
        machine = platforms.normalize(platforms.default())
        spec = build_spec(
            fields,
            options,
            architecture=machine.architecture,
            hostname=id[:MAX_HOSTNAME],
            cgroup=f"/pluggd-{call.namespace()}-{id}",
        )
        return Generated(
            spec=Any(type_url=TYPE_URL, value=to_plain(spec)),
            labels=_labels(fields),
            manifest=manifest,
            config=config,
        )

    async def _read(self, digest: str) -> bytes:
        return (await self._content.read(digest=digest)).data

    async def _config_of(self, manifest: Descriptor) -> str:
        data = await self._read(manifest.digest)
        read = oci.read_manifest(data, manifest.media_type, manifest.digest)
        if read.config is None:
            raise InvalidArgument(
                f"manifest {manifest.digest} has no configuration: invalid argument"
            )
        return read.config.digest

    async def _platform(self, entry: Descriptor) -> Platform | None:
        """What the configuration says of an entry whose index does not."""
        if not oci.is_manifest(entry.media_type):
            return None
        try:
            config = await self._config_of(entry)
            return oci.read_platform(await self._read(config), config)
        except NotFound:
            return None  # not kept here

    async def _manifest(
        self, target: Descriptor, image: str, platform: str
    ) -> Descriptor:
        """The manifest for a platform, through indexes."""
        wanted = platforms.candidates(
            platforms.parse(platform) if platform else platforms.default()
        )
        for _ in range(MAX_DEPTH):
            if not oci.is_index(target.media_type):
                return target
            data = await self._read(target.digest)
            found: list[tuple[int, int, Descriptor]] = []
            children = oci.children(data, target.media_type, target.digest)
            for number, child in enumerate(children):
                stated = child.platform or await self._platform(child.descriptor)
                rank = platforms.rank(stated, wanted)
                if rank is not None:
                    found.append((rank, number, child.descriptor))
            if not found:
                raise NotFound(
                    f'image "{image}" has no manifest for'
                    f" {platforms.describe(wanted[0])}: not found"
                )
            target = min(found)[2]
        raise InvalidArgument(
            f'image "{image}" has indexes more than {MAX_DEPTH} deep: invalid argument'
        )


def _labels(fields: ConfigFields) -> dict[str, str]:
    found = {
        key: value
        for key, value in (fields.labels or {}).items()
        if not key.startswith(RESERVED)
    }
    if fields.stop_signal:
        found[STOP_SIGNAL] = fields.stop_signal
    return found
