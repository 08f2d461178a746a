"""Which of the writes in the logs took effect, and in which order, for each home."""

from collections.abc import Sequence
from dataclasses import replace

from kraft.kv.entry import apply_entry
from kraft.kv.machine import Machine
from kraft.kv.replies import CommandFailure
from tests.simulation.committed_log import CommittedLog
from tests.simulation.homes import Homes
from tests.simulation.logged import Logged, marked_in


def executed(logs: Sequence[CommittedLog], homes: Homes) -> dict[int, list[Logged]]:
    """The marked writes that took effect, and what nodes asked, by home, and there in their order.

    With moves, each log is applied once more: what is logged has no effect where its slot is frozen or gone.
    """
    found: dict[int, list[Logged]] = {home: [] for home in range(homes.count)}
    for group, log in enumerate(logs):
        machine = Machine()
        for entry in log.entries:
            replies = apply_entry(machine, entry, group) if homes.moving else []
            for key, number, logged in marked_in(entry):
                home = homes.home_of(key, group)
                if home is not None and not (replies and isinstance(replies[number], CommandFailure)):
                    epoch = homes.epoch(machine.keyspace.slots, home)
                    found[home].append(replace(logged, place=(epoch, entry.index)))
    return {home: sorted(logged, key=lambda each: each.place) for home, logged in found.items()}
