"""The groups that were created after the cluster was formed: rows in the ledger of group 0.

A row has the number of its group as its name, and holds the encoded configuration with which the group
begins. It is never removed, so that whoever applies it, however late, begins the group with the same entry.
The numbers go on from those of the groups with which the cluster was formed, without gaps.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from kraft.kv.commands import AddGroups
from kraft.kv.ledger import Ledger, LedgerKind
from kraft.kv.replies import Reply
from kraft.kv.state import MachineState
from kraft.raft.membership import configuration

NAME_BYTES = 2
GROUPS_MAX = 1 << 15  # a cursor of SCAN has room for so many; nodes allow fewer (`peerwire.codec`)


def created_count(ledger: Ledger) -> int:
    """How many groups were created."""
    return ledger.counts[LedgerKind.GROUP]


def first_configuration(ledger: Ledger, group: int) -> bytes | None:
    """The encoded configuration with which `group` begins; None if it was not created."""
    row = ledger.get(LedgerKind.GROUP, group.to_bytes(NAME_BYTES, "big"))
    return None if row is None else row.value


def _create(state: MachineState, command: AddGroups) -> Reply:
    ledger = state.keyspace.ledger
    created = [int.from_bytes(key[1:], "big") for key in ledger.rows if key[0] == LedgerKind.GROUP]
    # The first command says how many groups the cluster was formed with, which every node knows.
    following = max(created) + 1 if created else command.first
    fits = following > 0 and 0 < command.count <= GROUPS_MAX - following
    if command.first != following or not fits or not _is_sound(command.configuration):
        return [0, following]
    for group in range(following, following + command.count):
        name = group.to_bytes(NAME_BYTES, "big")
        ledger.put(LedgerKind.GROUP, name, command.configuration, state.revision)
    state.slots_changed = True
    return [1, following + command.count]


def _is_sound(data: bytes) -> bool:
    """Whether a group can begin with this configuration: no node could begin it with any other."""
    try:
        return configuration.decode(data).fault() is None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False


FUNCTIONS: dict[type, Callable[[MachineState, Any], Reply]] = {AddGroups: _create}
"""The function of the command on groups."""
