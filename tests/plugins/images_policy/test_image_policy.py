# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Rules for images: as functions, over the store, and in a daemon with a real pull."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from pluggd.errors import InvalidArgument, NotFound, PermissionDenied
from pluggd.model.types import Descriptor
from pluggd.plugin import INLINE_ATTRIBUTE
from pluggd.services import call
from pluggd.services.images import IMAGES, Image, Images
from pluggd.testing import running_daemon, started
from pluggd.testing.conformance.images import ImagesConformance
from plugins.images_policy.config import Config, rules
from plugins.images_policy.registration import pluggd_register
from plugins.images_policy.rules import repository_of
from tests.contract.stand import Stand
from tests.proxy.proxied import proxied

TARGET = Descriptor(media_type="m", digest=f"sha256:{'a' * 64}", size=1)


def named(name: str, **labels: str) -> Image:
    return Image(name=name, labels=labels, target=TARGET)


@asynccontextmanager
async def policed(stores: Stand, config: Config) -> AsyncGenerator[Images]:
    kinds = {IMAGES: stores.images}
    async with started(pluggd_register(), kinds, config) as (images, _):
        yield images


class TestAllowingAll(ImagesConformance):
    @pytest.fixture
    async def images(self, stores: Stand) -> AsyncGenerator[Images]:
        async with policed(stores, Config()) as images:
            yield images


class TestOverTheSocket(ImagesConformance):
    @pytest.fixture
    async def images(self, stores: Stand) -> AsyncGenerator[Images]:
        async with (
            policed(stores, Config()) as images,
            proxied(IMAGES, images) as far,
        ):
            yield far


@pytest.mark.parametrize(
    ("name", "repository"),
    [
        ("docker.io/library/x:1", "docker.io/library/x"),
        ("localhost:5000/a/b", "localhost:5000/a/b"),
        (f"ghcr.io/a:1@sha256:{'a' * 64}", "ghcr.io/a"),
        ("[::1]:5000/x:1", "[::1]:5000/x"),
        ("library/x:1", None),
        ("x", None),
        ("weird name/with:stuff @!", None),
        ("ghcr.io/acme/../evil/x:1", None),
        ("ghcr.io//x:1", None),
        ("ghcr.io/", None),
    ],
)
def test_the_repository_of_a_name(name: str, repository: str | None) -> None:
    assert repository_of(name) == repository


@pytest.mark.parametrize(
    ("pattern", "name", "allowed"),
    [
        ("ghcr.io/acme/*", "ghcr.io/acme/x:1", True),
        ("ghcr.io/acme/*", "ghcr.io/acme/x/y:1", False),
        ("ghcr.io/acme/**", "ghcr.io/acme/x/y:1", True),
        ("ghcr.io/acme/*", "evil.io/ghcr.io/acme/x:1", False),
        ("ghcr.io/**", "ghcr.io.evil.io/x:1", False),
        ("ghcr.io/acme/*", "ghcr.io/acme-evil/x:1", False),
        ("ghcr.io/x", "ghcr.io/x@sha256:1", True),
        ("*.acme.io/**", "reg.acme.io/x", True),
        ("*.acme.io/**", "evil.io/reg.acme.io/x", False),
        ("ghcrxio/**", "ghcr.io/x", False),
        ("ghcr.io/**", "x", False),
        ("**", "any text at all", True),
    ],
)
def test_a_pattern_is_of_host_and_path(pattern: str, name: str, allowed: bool) -> None:
    assert (rules(Config(allow=(pattern,))).wrong_name(name) is None) is allowed


def test_an_empty_list_allows_nothing() -> None:
    assert rules(Config(allow=())).wrong_name("ghcr.io/x:1") is not None


@pytest.mark.parametrize(
    "wrong",
    [{"allow": ("https://x/y",)}, {"allow": ("",)}, {"required_labels": {"": "x"}}],
)
def test_a_rule_that_is_none_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument, match=r"allow|required_labels"):
        Config(**wrong)


STRICT = Config(allow=("ghcr.io/acme/*",), required_labels={"owner": "*", "tier": "t*"})


async def test_a_refusal_names_the_rule_and_what_to_change(stores: Stand) -> None:
    async with policed(stores, STRICT) as images:
        with call.using(namespace="ns"):
            with pytest.raises(PermissionDenied) as caught:
                await images.create(image=named("docker.io/library/x:1"))
            assert str(caught.value) == (
                'image "docker.io/library/x:1": repository "docker.io/library/x" is not '
                'in allow ("ghcr.io/acme/*"): add a pattern for it there '
                '([plugins."pluggd.images.v1.policy"]): permission denied'
            )
            with pytest.raises(
                PermissionDenied, match=r'label "owner".*absent: set it'
            ):
                await images.create(image=named("ghcr.io/acme/x:1", tier="t1"))
            with pytest.raises(PermissionDenied, match=r'"tier" is "x".*wants "t\*"'):
                await images.create(
                    image=named("ghcr.io/acme/x:1", owner="me", tier="x")
                )
            assert (await images.list()).images == []
            await images.create(image=named("ghcr.io/acme/x:1", owner="me", tier="t1"))


async def test_an_update_is_judged_by_what_would_be_stored(stores: Stand) -> None:
    name = "ghcr.io/acme/x:1"
    async with policed(stores, STRICT) as images:
        with call.using(namespace="ns"):
            await images.create(image=named(name, owner="me", tier="t1"))
            await images.update(image=named(name, more="x"), fields=["labels.more"])
            await images.update(image=named(name), fields=["target"])
            await images.update(image=named(name, owner="you"), fields=["labels.owner"])
            for fields in (["labels.owner"], ["labels"], []):
                with pytest.raises(PermissionDenied, match='label "owner"'):
                    await images.update(image=named(name, tier="t1"), fields=fields)
            assert (await images.get(name=name)).labels == {
                "owner": "you",
                "tier": "t1",
                "more": "x",
            }
            with pytest.raises(NotFound):
                await images.update(
                    image=named("ghcr.io/acme/none:1"), fields=["target"]
                )


async def test_what_was_there_before_can_be_read_and_deleted(stores: Stand) -> None:
    async with policed(stores, STRICT) as images:
        with call.using(namespace="ns"):
            await stores.images.create(image=named("old"))
            assert (await images.get(name="old")).name == "old"
            with pytest.raises(PermissionDenied):
                await images.update(image=named("old"), fields=["target"])
            await images.delete(name="old")


async def test_what_is_inline_stays_inline(stores: Stand) -> None:
    async with policed(stores, STRICT) as images:
        for name in ("get", "list"):
            mine, plain = getattr(images, name), getattr(stores.images, name)
            assert getattr(mine, INLINE_ATTRIBUTE) is getattr(plain, INLINE_ATTRIBUTE)
            assert mine == plain


# --- in a daemon

DECORATE = '[decorate]\nimages = ["policy"]\n'
RULES = '[plugins."pluggd.images.v1.policy"]\nallow = ["ghcr.io/acme/*"]\n'
POLICY = "pluggd.images.v1.policy"


async def test_a_daemon_puts_it_over_the_store_and_takes_rules_live(
    tmp_path: Path,
) -> None:
    with trio.fail_after(60):
        async with (
            running_daemon(tmp_path, DECORATE + RULES) as daemon,
            daemon.client(namespace="default") as client,
        ):
            (info,) = [
                one
                for one in (await client.introspection.plugins()).plugins
                if one.uri == POLICY
            ]
            assert info.decorates == "pluggd.images.v1.store"
            good, bad = named("ghcr.io/acme/x:1"), named("docker.io/library/x:1")
            await client.images.create(image=good)
            with pytest.raises(PermissionDenied, match="is not in allow"):
                await client.images.create(image=bad)
            # A tag is made in process, by the transfer plugin.
            with pytest.raises(PermissionDenied, match="is not in allow"):
                await client.transfer.tag(source=good.name, names=[bad.name])
            text = DECORATE + RULES.replace("]", ', "docker.io/**"]', 2).replace(
                'policy", "docker.io/**"]', 'policy"]', 1
            )
            (tmp_path / "config.toml").write_text(text)
            change = await client.management.reload()
            assert [(one.uri, one.action) for one in change.plugins] == [
                (POLICY, "reconfigure")
            ]
            await client.transfer.tag(source=good.name, names=[bad.name])
            (tmp_path / "config.toml").write_text("")
            await client.management.reload()
            assert daemon.status(POLICY) == "disabled"
            await client.images.create(image=named("any"))
