"""Reading and verifying a log database at a start: identity, hard states, bases, logs, high-water marks."""

from collections.abc import Iterator
from contextlib import contextmanager

import apsw

from kraft.node.values import Loaded
from kraft.raft.membership.replica_number import UNNUMBERED
from kraft.raft.messages import HardState
from kraft.storage.errors import DamagedLog, WrongNode
from kraft.storage.log import entries, last_replicas, replicas
from kraft.storage.log.entries import Head
from kraft.storage.log.hard_state import read_hard_states
from kraft.storage.log.highwater import HighwaterMark, emptied, mark
from kraft.storage.log.identity import read_identity
from kraft.storage.log.replicas import ReplicaRow
from kraft.storage.log.scan import GroupScan, scan
from kraft.storage.rows import DamagedRow
from kraft.storage.sqlite import abandon, explain, open_to_read


@contextmanager
def reading(place: str) -> Iterator[apsw.Connection]:
    """A connection to the log database at `place` that leaves it as it is.

    Errors of SQLite and damaged rows inside become a `StorageError`.
    """
    connection = open_to_read(place)
    try:
        yield connection
    except apsw.Error as error:
        raise explain(place, error) from error
    except DamagedRow as error:
        raise DamagedLog(place, str(error)) from error
    finally:
        abandon(connection)


def load(
    connection: apsw.Connection, marks: dict[int, HighwaterMark], place: str, node_id: str, tail_bytes: int
) -> tuple[Loaded, dict[int, Head], dict[int, ReplicaRow]]:
    """What the database holds, without state files; the head of each log; the row of each group that has one.

    Every row is verified, and the end of each log is compared with its high-water mark. Raises
    `StorageError`.
    """
    try:
        identity = read_identity(connection)
        if identity.id != node_id:
            raise WrongNode(f"{place} belongs to node {identity.id}, this node is configured as {node_id}")
        states = read_hard_states(connection)
        rows = replicas.read_all(connection)
        starts = replicas.read_starts(connection)
        last = last_replicas.read_all(connection)
        left = {group for group, replica in last.items() if not replica.held}

        def replica(group: int) -> ReplicaRow:
            return rows.get(group) or replicas.unwritten(identity.incarnation, group)

        logs = scan(entries.all_rows(connection), replica, tail_bytes)
        for group in (states.keys() | marks.keys() | rows.keys() | last.keys()) - left - logs.keys():
            logs[group] = GroupScan(group, replica(group), tail_bytes)
        groups = {group: logs[group].restored(states.get(group, HardState())) for group in sorted(logs)}
        if identity.total > 1 and sorted(groups.keys() | left) != list(range(identity.total)):
            held = ", ".join(map(str, groups)) or "none"
            raise DamagedRow(f"it holds the groups {held}, and the cluster has {identity.total}")
    except apsw.Error as error:
        raise explain(place, error) from error
    except (entries.BrokenChain, DamagedRow) as error:
        raise DamagedLog(place, str(error)) from error
    heads = {group: logs[group].head for group in groups}
    for group, written in marks.items():
        number = last[group].number if group in last else UNNUMBERED
        if group in left:
            found = emptied(number)
        else:
            head = heads[group]
            found = mark(groups[group].hard_state, head.last_term, head.last_index, number)
        if shortfall := found.shortfall(written):
            raise DamagedLog(place, f"group {group}: {shortfall}")
    fenced = frozenset(group for group, row in rows.items() if row.fenced)
    return Loaded(identity, groups, fenced=fenced, starts=starts, replicas=last), heads, rows
