"""Which of the writes in the logs took effect, and in which order, for each home."""

from collections.abc import Sequence
from dataclasses import replace

from kraft.kv.entry import apply_entry
from kraft.kv.machine import Machine
from kraft.kv.replies import CommandFailure, Reply
from tests.simulation.committed_log import CommittedLog
from tests.simulation.homes import Homes
from tests.simulation.logged import Logged, marked_in
from tests.simulation.scripts import in_vain


def executed(logs: Sequence[CommittedLog], homes: Homes, *, apply: bool = False) -> dict[int, list[Logged]]:
    """The marked writes that took effect, and what nodes asked, by home, and there in their order.

    With moves, or to `apply`, each log is applied once more: what is logged has no effect where its slot is
    frozen or gone, and a script did nothing if what it had read has changed.
    """
    found: dict[int, list[Logged]] = {home: [] for home in range(homes.count)}
    for group, log in enumerate(logs):
        machine = Machine()
        for entry in log.entries:
            replies = apply_entry(machine, entry, group) if homes.moving or apply else []
            for key, number, logged in marked_in(entry):
                home = homes.home_of(key, group)
                if home is not None and not (replies and isinstance(replies[number], CommandFailure)):
                    epoch = homes.epoch(machine.keyspace.slots, home)
                    in_vain = _in_vain(replies, number)
                    found[home].append(replace(logged, place=(epoch, entry.index), in_vain=in_vain))
    return {home: sorted(logged, key=lambda each: each.place) for home, logged in found.items()}


def _in_vain(replies: Sequence[Reply], mark: int) -> bool | None:
    """Whether the write before its mark was a script that did nothing; None if the replies are not known."""
    return in_vain(replies[mark - 1]) if mark and replies else None
