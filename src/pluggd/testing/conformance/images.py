# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The rules of `pluggd.images.v1`."""

from __future__ import annotations

import pytest

from pluggd.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound
from pluggd.model.record import replace
from pluggd.model.types import Descriptor
from pluggd.services import call
from pluggd.services.images import Image, Images
from pluggd.testing.conformance.base import Conformance, missing

DIGEST = "sha256:" + "a" * 64


OTHER = "sha256:" + "b" * 64


TARGET = Descriptor(
    media_type="application/vnd.oci.image.index.v1+json",
    digest=DIGEST,
    size=10,
    annotations={"org.opencontainers.image.ref.name": "1.0", "a": "b"},
)


def image(name: str = "a", **labels: str) -> Image:
    return Image(name=name, labels=labels, target=TARGET)


class ImagesConformance(Conformance):
    """What every provider of `pluggd.images.v1` promises, in process or over a socket.

    Provide the fixture `images`.
    """

    @pytest.fixture
    def images(self) -> Images:
        """The provider, empty. Yours to override."""
        missing(type(self), "images")

    async def test_a_created_image_is_got_as_it_was_given(self, images: Images) -> None:
        with call.using(namespace="ns"):
            created = await images.create(image=image("docker.io/x:1", k="v"))
            assert created.target == TARGET
            assert created.labels == {"k": "v"}
            assert created.created_at == created.updated_at > 0
            assert await images.get(name="docker.io/x:1") == created

    async def test_times_in_a_request_are_ignored(self, images: Images) -> None:
        with call.using(namespace="ns"):
            created = await images.create(
                image=replace(image(), created_at=5, updated_at=7)
            )
            assert created.created_at == created.updated_at > 7
            changed = await images.update(image=replace(image(), created_at=5))
            assert changed.created_at == created.created_at
            assert changed.updated_at > created.updated_at

    async def test_a_name_is_any_text(self, images: Images) -> None:
        names = ["weird name/with:stuff @!", "n" * 5000, "é\0x"]
        with call.using(namespace="ns"):
            for name in names:
                await images.create(image=image(name))
                assert (await images.get(name=name)).name == name
            listed = await images.list()
            assert [one.name for one in listed.images] == sorted(names)

    async def test_a_name_is_taken_once(self, images: Images) -> None:
        with call.using(namespace="ns"):
            await images.create(image=image("b"))
            with pytest.raises(AlreadyExists, match=r'^image "b": already exists$'):
                await images.create(image=image("b"))

    async def test_namespaces_do_not_see_each_other(self, images: Images) -> None:
        with call.using(namespace="one"):
            await images.create(image=image())
        with call.using(namespace="two"):
            assert (await images.list()).images == []
            with pytest.raises(NotFound):
                await images.get(name="a")
            with pytest.raises(NotFound):
                await images.delete(name="a")
            await images.create(image=image(x="2"))
        with call.using(namespace="one"):
            assert (await images.get(name="a")).labels == {}

    async def test_a_namespace_is_needed_and_checked(self, images: Images) -> None:
        with pytest.raises(FailedPrecondition, match=r"^namespace is required"):
            await images.get(name="a")
        with (
            call.using(namespace="bad ns!"),
            pytest.raises(InvalidArgument, match=r"^namespace validation: identifier"),
        ):
            await images.create(image=image())

    async def test_empty_labels_and_annotations_are_absent(
        self, images: Images
    ) -> None:
        target = replace(TARGET, annotations={"a": "", "b": "1"})
        with call.using(namespace="ns"):
            created = await images.create(
                image=Image(name="a", labels={"x": "", "y": "1"}, target=target)
            )
            assert created.labels == {"y": "1"}
            assert created.target.annotations == {"b": "1"}
            assert await images.get(name="a") == created

    async def test_an_update_without_fields_replaces_all_but_the_creation(
        self,
        images: Images,
    ) -> None:
        with call.using(namespace="ns"):
            created = await images.create(image=image(x="1"))
            target = Descriptor(media_type="m", digest=OTHER, size=3)
            changed = await images.update(image=Image(name="a", target=target))
            assert changed.labels == {}
            assert changed.target == target
            assert changed.created_at == created.created_at
            assert await images.get(name="a") == changed
            with pytest.raises(InvalidArgument, match=r"Target.Digest"):
                await images.update(image=Image(name="a", labels={"x": "1"}))

    async def test_an_update_changes_only_what_is_named(self, images: Images) -> None:
        with call.using(namespace="ns"):
            await images.create(image=image(x="1", y="2"))

            async def updated(requested: Image, *fields: str) -> Image:
                changed = await images.update(image=requested, fields=fields)
                assert await images.get(name="a") == changed
                return changed

            asked = Image(name="a", labels={"x": "9", "a.b/c": "3"})
            changed = await updated(asked, "labels.x", "labels.a.b/c")
            assert changed.labels == {"x": "9", "y": "2", "a.b/c": "3"}
            assert changed.target == TARGET
            changed = await updated(Image(name="a"), "labels.x")
            assert changed.labels == {"y": "2", "a.b/c": "3"}
            changed = await updated(Image(name="a", labels={"z": "1"}), "labels")
            assert changed.labels == {"z": "1"}

            asked = Image(
                name="a", target=Descriptor(annotations={"a": "new", "no": "x"})
            )
            changed = await updated(asked, "annotations.a")
            assert changed.target.annotations == {**TARGET.annotations, "a": "new"}
            assert changed.target.digest == DIGEST
            changed = await updated(asked, "annotations")
            assert changed.target.annotations == {"a": "new", "no": "x"}

            target = Descriptor(media_type="m", digest=OTHER, size=3)
            changed = await updated(Image(name="a", target=target), "target")
            assert changed.target == target
            assert changed.labels == {"z": "1"}

    async def test_a_refused_update_changes_nothing(self, images: Images) -> None:
        with call.using(namespace="ns"):
            created = await images.create(image=image(x="1"))
            asked = Image(name="a", labels={"x": "2"})
            for fields in (["labels.x", "bogus"], ["labels.x", "target"], []):
                with pytest.raises(InvalidArgument):
                    await images.update(image=asked, fields=fields)
            assert await images.get(name="a") == created

    async def test_a_listing_is_in_byte_order_and_goes_in_pages(
        self, images: Images
    ) -> None:
        names = ["B", "a", "b", "é", "A", "ab"]
        with call.using(namespace="ns"):
            for name in names:
                await images.create(image=image(name))
            expected = sorted(names, key=str.encode)
            seen: list[str] = []
            after = ""
            while True:
                page = await images.list(limit=4, after=after)
                assert len(page.images) <= 4
                seen += [one.name for one in page.images]
                after = page.next
                if not after:
                    break
            assert seen == expected
            assert (await images.list(limit=6)).next == ""
            assert [one.name for one in (await images.list(after="ab")).images] == [
                "b",
                "é",
            ]
            with pytest.raises(InvalidArgument, match=r"limit -1 must not be negative"):
                await images.list(limit=-1)

    async def test_filters_choose(self, images: Images) -> None:
        with call.using(namespace="ns"):
            await images.create(image=image("foo", k="v", **{"a.b/c": "x"}))
            await images.create(
                image=Image(
                    name="bar", target=Descriptor(media_type="m", digest=OTHER, size=1)
                )
            )

            async def found(*filters: str) -> list[str]:
                return [one.name for one in (await images.list(filters=filters)).images]

            assert await found() == ["bar", "foo"]
            assert await found("") == ["bar", "foo"]
            assert await found("name==foo") == ["foo"]
            assert await found("name==foo", "name==bar") == ["bar", "foo"]
            assert await found("name==foo,labels.k==w") == []
            assert await found('labels."a.b/c"==x') == ["foo"]
            assert await found("labels.k!=v") == ["bar"]
            assert await found(f"target.digest=={OTHER}") == ["bar"]
            assert await found("target.mediatype~=index") == ["foo"]
            assert await found("annotations.a") == ["foo"]
            assert await found("nosuch") == []
            page = await images.list(filters=["name~=o"], limit=1)
            assert page.next == ""
            with pytest.raises(InvalidArgument, match=r"filters: parse error"):
                await images.list(filters=["name=="])

    async def test_a_deleted_image_is_gone(self, images: Images) -> None:
        with call.using(namespace="ns"):
            await images.create(image=image())
            await images.delete(name="a")
            with pytest.raises(NotFound, match=r'^image "a": not found$'):
                await images.get(name="a")
            with pytest.raises(NotFound):
                await images.delete(name="a")
            await images.create(image=image())

    async def test_a_delete_may_say_what_it_expects(self, images: Images) -> None:
        with call.using(namespace="ns"):
            await images.create(image=image())
            with pytest.raises(NotFound) as caught:
                await images.delete(name="a", target=OTHER)
            expected = f'image "a" has target {DIGEST}, not {OTHER}: not found'
            assert str(caught.value) == expected
            await images.delete(name="a", target=DIGEST)
            assert (await images.list()).images == []
