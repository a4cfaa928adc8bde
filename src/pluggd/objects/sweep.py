# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""One collection, transaction by transaction: search candidates, remove the dead.

A step is the function of one `update`. A provider may roll it back and run it
again, so it changes nothing here that counts until `add` says that it committed;
what the search learned in a step that did not is forgotten.

A collection that needs several steps has the store note what gains support in
between (`Graph.watch`), because verdicts of its search outlive the transaction.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import islice
from time import perf_counter_ns

from pluggd.objects.graph import Graph
from pluggd.objects.mark import MarkResult, repair
from pluggd.objects.search import Life, Search
from pluggd.objects.transaction import ObjectTransaction
from pluggd.services import call
from pluggd.services.metadata import Node, Removed, ResourceType
from pluggd.struct import Struct, field

_BLOCK = 32
_MOST_OBJECTS = 1000
_MOST_GAINED = 1000
_MOST_INTERRUPTED = 20

Known = tuple[bytes, Life]
"""A node from which the loss of support was passed on to what it refers to."""


class Step(Struct):
    """What one transaction did. `done`: there is no more to do; `more`: there would be,
    and the limit is reached."""

    generation: int
    removed: list[Node] = field(default_factory=list[Node])
    known: set[Known] = field(default_factory=set[Known])
    examined: int = 0
    pause: int = 0
    done: bool = False
    more: bool = False


class Sweep:
    """What one collection knows and did, as of its last committed step.

    limit: of removed objects, 0 for none. keep_for: ns that a candidate stays one.
    more: whether the limit ended it.

    resource_of: the registered type of a node's type. budget: ns for one step.
    failing: the node whose `collect` raised in the last step, if that was it.
    failures: nodes that are passed over, and why; kept for the next collection.
    """

    def __init__(
        self,
        resource_of: Callable[[str], ResourceType | None],
        budget: int,
        *,
        limit: int = 0,
        keep_for: int = 0,
    ) -> None:
        self._limit = limit
        self._keep_for = keep_for
        self.more = False
        self._resource_of = resource_of
        self._budget = budget
        self._search = Search()
        self._unsure = False
        self._generation = 0
        self._known: set[Known] = set()
        self.failing: bytes | None = None
        self.failures: dict[bytes, Exception] = {}
        self.removed: Counter[str] = Counter()
        self.objects: list[Removed] = []
        self.examined = 0
        self.pause = 0

    def add(self, step: Step) -> None:
        """The step is durable."""
        self._unsure = False
        self._generation = step.generation
        self._known |= step.known
        self.examined += step.examined
        self.pause = max(self.pause, step.pause)
        self.more = self.more or step.more
        for node in step.removed:
            self.removed[node.type] += 1
            if len(self.objects) < _MOST_OBJECTS:
                type_, namespace, name = node
                self.objects.append(Removed(type=type_, namespace=namespace, name=name))

    # --- the functions of updates

    def expire(self, txn: ObjectTransaction) -> Step:
        """Begin, and turn what has expired into candidates."""
        return self._step(txn, self._expire)

    def take_mark(self, txn: ObjectTransaction, part: MarkResult) -> Step:
        """Repair broken edges and make candidates of what was not reached."""

        def take(txn: ObjectTransaction, step: Step, deadline: int) -> bool:
            del deadline
            for edge in part.broken:
                repair(txn.writable_graph, edge)
            for id_ in part.unreached:
                txn.writable_graph.queue(id_, step.generation - 1)
            return True

        return self._step(txn, take)

    def sweep(self, txn: ObjectTransaction) -> Step:
        """All of it, as far as the budget goes."""
        return self._step(txn, self._sweep)

    def _step(
        self,
        txn: ObjectTransaction,
        function: Callable[[ObjectTransaction, Step, int], bool],
    ) -> Step:
        begun = perf_counter_ns()
        graph = txn.writable_graph
        txn.by_collector = True
        self.failing = None
        if self._unsure:
            self._search.forget()
        self._unsure = True
        if not self._generation:
            graph.watch(False)
        step = Step(self._generation or graph.begin_collection())
        graph.release_generation = step.generation - 1
        step.done = function(txn, step, begun + self._budget)
        step.pause = perf_counter_ns() - begun
        return step

    def _expire(self, txn: ObjectTransaction, step: Step, deadline: int) -> bool:
        del step
        graph = txn.writable_graph
        while block := list(islice(graph.expired(), _BLOCK)):
            for key, id_ in block:
                graph.expire(key, id_)
            if perf_counter_ns() > deadline:
                return False
        return True

    def _sweep(self, txn: ObjectTransaction, step: Step, deadline: int) -> bool:
        graph = txn.writable_graph
        self._hear_what_gained(graph)
        if not self._expire(txn, step, deadline):
            return False
        while block := list(islice(graph.candidates(step.generation), _BLOCK)):
            for key, since in block:
                if self._enough(step):
                    step.more = True
                    graph.watch(False)
                    return True
                if self._keep_for and since > txn.now - self._keep_for:
                    # Looked at again by the next collection, and not by this one.
                    graph.queue(key[8:], step.generation, since)
                    judged = True
                else:
                    graph.release_since = since
                    judged = self._judge(txn, step, key[8:], deadline)
                    graph.release_since = None
                if judged:
                    graph.unqueue(key)
                if not judged or perf_counter_ns() > deadline:
                    graph.watch(True)
                    return False
        graph.watch(False)
        return True

    def _enough(self, step: Step) -> bool:
        removed = self.removed.total() + len(step.removed)
        return 0 < self._limit <= removed

    def _hear_what_gained(self, graph: Graph) -> None:
        gained = graph.take_gained(_MOST_GAINED)
        if len(gained) < _MOST_GAINED:
            self._search.lose(gained)
        else:
            self._search.forget()

    def _judge(
        self, txn: ObjectTransaction, step: Step, id_: bytes, deadline: int
    ) -> bool:
        """Deal with one candidate; False when there was no time for it."""
        graph, search = txn.writable_graph, self._search
        row = graph.row(id_)
        if row is None or not row.exists:
            return True
        if id_ in self.failures:
            graph.queue(id_)
            return True
        # Who keeps giving support to a huge heap of garbage may not stop collection.
        patient = search.interrupted > _MOST_INTERRUPTED
        life = search.life(graph, id_, 0 if patient else deadline)
        if life is None:
            return False
        step.examined += 1
        if life is Life.FULL:
            return True
        node = row.node
        resource = self._resource_of(node.type)
        if life is Life.DEAD and resource is not None and resource.collect is not None:
            self._remove(txn, resource.collect, id_, node)
            step.removed.append(node)
            return True
        # It stays, but no longer keeps (all of) what it refers to. Once for each
        # collection: what stays may refer to itself in circles.
        known = (id_, life)
        if known not in self._known and known not in step.known:
            step.known.add(known)
            graph.queue_targets(id_)
        return True

    def _remove(
        self,
        txn: ObjectTransaction,
        collect: Callable[[ObjectTransaction, Node], None],
        id_: bytes,
        node: Node,
    ) -> None:
        graph = txn.writable_graph
        try:
            with call.using(namespace=node.namespace, lease=""):
                collect(txn, node)
        except Exception:
            # Not wrapped: the error may be the store's own, which it must recognize.
            self.failing = id_
            raise
        graph.drop(id_)
        self._search.lose(graph.gained)
        graph.gained.clear()
