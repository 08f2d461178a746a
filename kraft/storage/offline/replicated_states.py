"""The states of all groups of a stopped node at the ends of their logs, for a recovery from that node."""

import apsw

from kraft.kv.entry import apply_entry
from kraft.kv.machine import Machine
from kraft.node.values import Loaded
from kraft.raft.ports import Restored
from kraft.storage.log import entries, replicas
from kraft.storage.log.replicas import ReplicaRow
from kraft.storage.rows import DamagedRow

READ_BYTES = 4 << 20  # of entries at a time


def states_at_the_end(
    connection: apsw.Connection, loaded: Loaded, rows: dict[int, ReplicaRow]
) -> dict[int, Machine]:
    """The machine of each group, with every entry of its log applied. It takes the keys out of `loaded`.

    Raises `UnknownCommand`, or `DamagedRow` if entries are missing.
    """
    found = {}
    for group, restored in sorted(loaded.groups.items()):
        row = rows.get(group) or replicas.unwritten(loaded.identity.incarnation, group)
        found[group] = _state(connection, loaded, group, restored, row)
    return found


def _state(
    connection: apsw.Connection, loaded: Loaded, group: int, restored: Restored, row: ReplicaRow
) -> Machine:
    machine, index = Machine(), 0
    if (saved := loaded.checkpoints.get(group)) is not None:
        checkpoint, keyspace = saved
        base, version = checkpoint.base, checkpoint.machine_version
        machine = Machine.restored(keyspace, base.stamp, checkpoint.revision, version)
        index = base.index
    while index < restored.last_index:
        read = entries.read(connection, group, index + 1, restored.last_index, READ_BYTES, row.empty_head)
        if not read:
            raise DamagedRow(f"group {group}: entry {index + 1} is missing")
        for entry in read:
            apply_entry(machine, entry, group)
        index += len(read)
    return machine
