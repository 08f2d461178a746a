"""What commands do that have to see keys of several groups at once: RENAME, COPY, MSETNX, BITOP, scripts.

The commands run on what was read of all groups, and each is replaced by its effects there: the keys that it
has changed hold this, or are gone. With it are computed the steps before it in a transaction that change its
keys. The other steps stay what they are, and their groups execute them. All rest on the revisions that were
read. So a step that refers to a revision stays what it is, too, as that of a change is known later.
"""

from collections.abc import Sequence
from itertools import chain
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from kraft.host.ports import ScriptEvaluator
from kraft.host.requests.round import View
from kraft.kv import commands as kv
from kraft.kv.commands import CompareAndSet, Evaluated, Extend, Guarded, Lock
from kraft.kv.excerpt import Excerpt
from kraft.kv.footprint import Name, declared
from kraft.kv.ledger import Ledger, LedgerKind
from kraft.kv.machine import Machine
from kraft.kv.net_effect import effect
from kraft.kv.overlay import Overlay
from kraft.kv.record import Record
from kraft.kv.replies import CommandFailure
from kraft.kv.scripts import script_source
from kraft.server.commands.partition import GroupOf, Partition, divided, divides, groups_of, parts_of
from kraft.server.errors import CROSS_SLOT, CrossSlot

_ABOUT_REVISIONS = frozenset({CompareAndSet, Lock, Extend})


def check_computable(step: Any, group_of: GroupOf) -> None:
    """Raise CrossSlot if a step with keys in several groups can have keys of one group only."""
    inner = step.command if type(step) is Guarded else step
    if type(inner) in _ABOUT_REVISIONS and not divides(step, group_of):
        raise CrossSlot(CROSS_SLOT)


class _Found(Struct, frozen=True):
    """What was read of one group: `records` by key, None for a missing one, at `now_ms` and `revision`.

    The `ledger` is not what it was then: scripts are looked for in it.
    """

    records: dict[bytes, Record | None]
    now_ms: int
    revision: int
    bytes: int
    ledger: Ledger


class StepComputation:
    """Computes `transaction`, where `computed` are the places of steps that are to be replaced.

    A step without keys belongs to `group`. `shares` has what became of each step, after `parts`. It is the
    `Computation` of `kraft.host.transactions.ports`.
    """

    def __init__(
        self,
        transaction: kv.Exec,
        computed: Sequence[int],
        group: int,
        group_of: GroupOf,
        evaluator: ScriptEvaluator,
        limit: int,
    ) -> None:
        """`limit` is the most bytes that the steps may write together: all are in one entry of a log.

        Raises CrossSlot if one of the steps cannot be computed.
        """
        self.shares: list[Partition] = []
        self.size = 0
        self.final = True
        self.keys: dict[int, list[bytes]] = {}
        self.groups = {group_of(watched.key) for watched in transaction.watched}
        self._transaction = transaction
        self._group = group
        self._group_of = group_of
        self._evaluator = evaluator
        self._limit = limit
        self._found: dict[int, _Found] = {}
        steps: Sequence[Any] = transaction.steps
        self._run = _needed(steps, computed)
        for place, step in enumerate(steps):
            self.groups |= groups_of(step, group_of)
            if place in self._run:
                check_computable(step, group_of)
                for key in _names(step):
                    self.keys.setdefault(group_of(key), []).append(key)
        self.keys = {owner: list(dict.fromkeys(keys)) for owner, keys in self.keys.items()} or {group: []}

    @property
    def rows(self) -> tuple[LedgerKind, ...]:
        """As of `Computation`: what scripts need."""
        steps = self._transaction.steps
        scripted = any(type(steps[place]) is kv.ScriptCall for place in self._run)
        return (LedgerKind.SCRIPT, LedgerKind.LIBRARY) if scripted else ()

    def found(self, group: int, view: View) -> None:
        """As of `Computation`."""
        get = view.keyspace.records.get
        records = {key: get(key) for key in self.keys[group]}
        keyspace, known = view.keyspace, self._found.get(group)
        size, ledger = keyspace.bytes, keyspace.ledger
        if isinstance(keyspace, Excerpt) and known is not None:  # it has these keys only
            size, ledger = known.bytes, known.ledger
        self._found[group] = _Found(records, view.now_ms, view.revision, size, ledger)

    def parts(self) -> dict[int, kv.Exec]:
        """As of `Computation`."""
        overlay = self._overlay()
        self.shares = []
        self.size = 0
        self.final = True
        for place, step in enumerate(self._transaction.steps):
            if place in self._run:
                self.shares.append(self._computed(overlay, step))
            else:
                self.shares.append(divided(step, self._group_of, self._group))
        read = {group: _watched(found) for group, found in self._found.items()}
        return parts_of(self.shares, self._transaction.watched, self._group_of, read)

    def _overlay(self) -> Overlay:
        """The keys of all groups, at a time when none of them is due. Scripts are in every group's cache."""
        machine, found = Machine(), self._found.values()
        records = {
            key: record for each in found for key, record in each.records.items() if record is not None
        }
        due = [record.expires - 1 for record in records.values() if record.expires]
        machine.stamp = min([max(each.now_ms for each in found), *due])
        machine.keyspace = Excerpt(len(records), records)
        machine.keyspace.bytes = max(each.bytes for each in found)  # for limits of memory
        machine.revision = max(each.revision for each in found)
        machine.keyspace.ledger = next(iter(found)).ledger
        return Overlay(machine, machine.stamp, declared=frozenset(chain(*self.keys.values())))

    def _with_source(self, script: kv.ScriptCall) -> kv.ScriptCall:
        """The call with the text of a script that another group has in its cache."""
        if script.source or script.mode >= kv.ScriptMode.FUNCTION:
            return script
        sources = [script_source(each.ledger, script.sha) for each in self._found.values()]
        return replace(script, source=next(filter(None, sources), b""))

    def _computed(self, overlay: Overlay, step: Any) -> Partition:
        overlay.hold()
        if type(step) is kv.ScriptCall:
            done = self._evaluator.evaluate(overlay, self._with_source(step), self.size)
            reply, self.final = done.reply, done.final or len(self._transaction.steps) > 1
        else:
            reply = overlay.step(step)
        if type(step) in _ABOUT_REVISIONS:
            return divided(step, self._group_of, self._group)
        changes = overlay.changes
        size = sum([len(key) + (len(record.value) if record else 0) for key, record in changes.items()])
        if self.size and self.size + size > self._limit:
            overlay.drop()
            return Partition({}, CommandFailure.TRANSACTION_TOO_LARGE)
        self.size += size
        effects: dict[int, list[kv.Change]] = {}
        for key, record in changes.items():
            effects.setdefault(self._group_of(key), []).append(effect(key, record))
        return Partition({group: Evaluated(tuple(each)) for group, each in effects.items()}, reply)


def _needed(steps: Sequence[Any], computed: Sequence[int]) -> set[int]:
    """The places in `computed`, and those of the steps before them that change their keys."""
    needed = set(computed)
    names: set[Name] = set()
    for place in reversed(range(len(steps))):
        if place in needed or not names.isdisjoint(declared(steps[place]).written):
            needed.add(place)
            names.update(_names(steps[place]))
    return needed


def _names(step: Any) -> list[bytes]:
    found = declared(step)
    return [name for name in (*found.written, *found.read) if isinstance(name, bytes)]


def _watched(found: _Found) -> tuple[kv.Watched, ...]:
    return tuple(
        [
            kv.Watched(key, 0 if record is None else record.revision, found.revision)
            for key, record in found.records.items()
        ]
    )
