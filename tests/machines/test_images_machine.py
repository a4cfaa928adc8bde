# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The image store against a dictionary: any sequence of calls gives what it gives.

References between images run only to greater names, so that there are no cycles and
each collection is exact.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from pluggd.errors import AlreadyExists, NotFound, PluggdError
from pluggd.model.types import Descriptor
from pluggd.services.images import Image
from tests.contract.stand import Stand
from tests.machines.driver import Driver

T = TypeVar("T")

EXPIRE = "containerd.io/gc.expire"
REF = "containerd.io/gc.ref.image"
DIGESTS = [f"sha256:{letter * 64}" for letter in "ab"]

namespaces = st.sampled_from(["one", "two"])
names = st.sampled_from(["A", "a", "a/b", "b" * 400, "b" * 400 + "c", "é"])
values = st.sampled_from(["", "1", "2"])
labels = st.fixed_dictionaries(
    {},
    optional={
        "k": values,
        "k.l/m": values,
        EXPIRE: st.sampled_from(["2001-01-01T00:00:00Z", "2999-01-01T00:00:00Z"]),
        REF: names,
    },
)
descriptors = st.builds(
    Descriptor,
    media_type=st.just("m"),
    digest=st.sampled_from(DIGESTS),
    size=st.integers(1, 3),
    annotations=st.fixed_dictionaries({}, optional={"x": values, "y.z": values}),
)
fields = st.lists(
    st.sampled_from(
        ["labels", "labels.k", "labels.k.l/m", "target", "annotations", "annotations.x"]
    ),
    max_size=3,
)


class Known(NamedTuple):
    labels: dict[str, str]
    target: Descriptor


def stored(labels: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in labels.items() if value}


def masked(
    old: dict[str, str], new: dict[str, str], fields: list[str], name: str
) -> dict[str, str]:
    """Field by field, as the reference says it."""
    if name in fields:
        return stored(new)
    result = dict(old)
    for field in fields:
        if field.startswith(name + "."):
            result[field[len(name) + 1 :]] = new.get(field[len(name) + 1 :], "")
    return stored(result)


class ImagesMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.driver = Driver()
        self.known: dict[tuple[str, str], Known] = {}
        self.events: list[tuple[str, str, dict[str, Any]]] = []
        self.namespaces: set[str] = set()

    def teardown(self) -> None:
        self.driver.close()

    def attempt(
        self,
        namespace: str,
        function: Callable[[Stand], Awaitable[T]],
        expected: type[PluggdError] | None,
    ) -> T | None:
        if expected is None:
            return self.driver.call(function, namespace)
        with pytest.raises(expected):
            self.driver.call(function, namespace)
        return None

    def emitted(self, namespace: str, what: str, name: str) -> None:
        value: dict[str, Any] = {"name": name}
        known = self.known.get((namespace, name))
        if known is not None and known.labels and what != "delete":
            value["labels"] = known.labels
        self.events.append((namespace, f"/images/{what}", value))

    @rule(namespace=namespaces, name=names, labels=labels, points_to=descriptors)
    def create(
        self, namespace: str, name: str, labels: dict[str, str], points_to: Descriptor
    ) -> None:
        labels = acyclic(name, labels)
        taken = (namespace, name) in self.known
        asked = Image(name=name, labels=labels, target=points_to)
        created = self.attempt(
            namespace,
            lambda stores: stores.images.create(image=asked),
            AlreadyExists if taken else None,
        )
        if created is not None:
            self.known[namespace, name] = Known(stored(labels), bare(points_to))
            self.namespaces.add(namespace)
            self.emitted(namespace, "create", name)
            assert created.created_at == created.updated_at

    @rule(
        namespace=namespaces,
        name=names,
        labels=labels,
        points_to=descriptors,
        fields=fields,
    )
    def update(
        self,
        namespace: str,
        name: str,
        labels: dict[str, str],
        points_to: Descriptor,
        fields: list[str],
    ) -> None:
        labels = acyclic(name, labels)
        old = self.known.get((namespace, name))
        asked = Image(name=name, labels=labels, target=points_to)
        changed = self.attempt(
            namespace,
            lambda stores: stores.images.update(image=asked, fields=fields),
            None if old else NotFound,
        )
        if old is None or changed is None:
            return
        fields = fields or ["labels", "target"]
        new = bare(points_to)
        if "target" not in fields:
            annotations = masked(
                old.target.annotations, points_to.annotations, fields, "annotations"
            )
            new = descriptor(old.target, annotations)
        self.known[namespace, name] = Known(
            masked(old.labels, labels, fields, "labels"), new
        )
        self.emitted(namespace, "update", name)

    @rule(namespace=namespaces, name=names, expected=st.sampled_from(["", *DIGESTS]))
    def delete(self, namespace: str, name: str, expected: str) -> None:
        old = self.known.get((namespace, name))
        goes = old is not None and expected in ("", old.target.digest)
        self.attempt(
            namespace,
            lambda stores: stores.images.delete(name=name, target=expected),
            None if goes else NotFound,
        )
        if goes:
            del self.known[namespace, name]
            self.emitted(namespace, "delete", name)

    @rule(full=st.booleans())
    def collect(self, full: bool) -> None:
        kept = self.reachable()
        gone = sorted(set(self.known) - kept)
        stats = self.driver.call(lambda stores: stores.metadata.collect(full=full))
        assert sorted((one.namespace, one.name) for one in stats.objects) == gone
        for namespace, name in gone:
            del self.known[namespace, name]
        seen = self.driver.call(read_events)[len(self.events) :]
        assert sorted((one[0], one[2]["name"]) for one in seen) == gone
        assert {one[1] for one in seen} <= {"/images/delete"}
        self.events += seen

    def reachable(self) -> set[tuple[str, str]]:
        """The images that have not expired, and what they refer to."""
        kept: set[tuple[str, str]] = set()
        todo = [
            key
            for key, known in self.known.items()
            if not known.labels.get(EXPIRE, "").startswith("2001")
        ]
        while todo:
            key = todo.pop()
            if key in self.known and key not in kept:
                kept.add(key)
                referred = self.known[key].labels.get(REF)
                if referred:
                    todo.append((key[0], referred))
        return kept

    @rule(
        namespace=namespaces,
        value=values,
        limit=st.integers(0, 3),
        after=st.one_of(st.just(""), names),
    )
    def list_a_page(self, namespace: str, value: str, limit: int, after: str) -> None:
        filters = [f'labels.k=="{value}"'] if value else []
        page = self.driver.call(
            lambda stores: stores.images.list(
                filters=filters, limit=limit, after=after
            ),
            namespace,
        )
        expected = sorted(
            name
            for (where, name), known in self.known.items()
            if where == namespace
            and name > after
            and (not value or known.labels.get("k") == value)
        )
        shown = expected[:limit] if limit else expected
        assert [one.name for one in page.images] == shown
        assert page.next == (shown[-1] if len(shown) < len(expected) else "")

    @invariant()
    def the_store_is_the_dictionary(self) -> None:
        for namespace in ("one", "two"):
            page = self.driver.call(lambda stores: stores.images.list(), namespace)
            found = {
                (namespace, one.name): Known(one.labels, one.target)
                for one in page.images
            }
            expected = {
                key: known for key, known in self.known.items() if key[0] == namespace
            }
            assert found == expected

    @invariant()
    def the_log_tells_what_happened(self) -> None:
        events = self.driver.call(read_events)
        assert events == self.events

    @invariant()
    def the_namespaces_are_those_that_were_used(self) -> None:
        page = self.driver.call(lambda stores: stores.namespaces.list())
        assert {one.name for one in page.namespaces} == self.namespaces


async def read_events(stores: Stand) -> list[tuple[str, str, dict[str, Any]]]:
    return [(one[0], one[1], one[3]) for one in stores.events()]


def acyclic(name: str, labels: dict[str, str]) -> dict[str, str]:
    """The labels, without a reference to a name that is not greater."""
    if labels.get(REF, "\U0010ffff") > name:
        return labels
    return {key: value for key, value in labels.items() if key != REF}


def bare(target: Descriptor) -> Descriptor:
    return descriptor(target, stored(target.annotations))


def descriptor(target: Descriptor, annotations: dict[str, str]) -> Descriptor:
    return Descriptor(
        media_type=target.media_type,
        digest=target.digest,
        size=target.size,
        annotations=annotations,
    )


ImagesMachine.TestCase.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None
)
TestImages = ImagesMachine.TestCase
