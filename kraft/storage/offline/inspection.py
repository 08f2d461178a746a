"""A quick look into a stopped node's directory: its node, and whether its logs lost their ends.

It verifies a part of what a start does: the rows that name node and groups, and the end of each log against
the high-water marks. The entries are not read, so a long log does not take longer. The directory is locked
meanwhile. Nothing is written, and nothing is created in a directory without a node.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import apsw

from kraft.raft.membership.replica_number import UNNUMBERED, ReplicaNumber
from kraft.raft.messages import HardState
from kraft.storage import migrations
from kraft.storage.damage import refuse_remembered_damage
from kraft.storage.directory import RealDirectory, prepare_directory
from kraft.storage.errors import DamagedLog, DirectoryUnusable
from kraft.storage.lock import DirectoryLock
from kraft.storage.log import entries, last_replicas, replicas
from kraft.storage.log.files import HIGHWATER_FILE, LOG_FILE, refuse_leftovers
from kraft.storage.log.hard_state import read_hard_states
from kraft.storage.log.highwater import HighwaterMark, emptied, mark, parse
from kraft.storage.log.identity import read_identity
from kraft.storage.log.loading import reading


@dataclass(frozen=True, slots=True)
class Inspection:
    """`cluster` is '' for a node that was never in one. `last` is the index of each group's last entry.

    `fenced` are the groups whose data here is known to be wrong. Of a directory of an older kraft, only
    `node` and `cluster` are known.
    """

    node: str
    cluster: str
    last: dict[int, int]
    fenced: frozenset[int]


def inspect(path: str) -> Inspection | None:
    """What the directory holds; None when it is not a node's. Raises `StorageError`, such as `Damaged`."""
    directory = RealDirectory(path)
    if not directory.exists(LOG_FILE):
        refuse_leftovers(directory)
        return None
    prepare_directory(path)
    lock = DirectoryLock(path)
    try:
        refuse_remembered_damage(directory)
        return _read(directory)
    except OSError as error:
        raise DirectoryUnusable(f"data directory {path}: {error.strerror or error}") from error
    finally:
        lock.release()


def _read(directory: RealDirectory) -> Inspection:
    place = directory.path(LOG_FILE)
    with reading(place) as connection:
        version = migrations.check(connection, migrations.load())
        identity = read_identity(connection)
        if version < migrations.ALWAYS:
            return Inspection(identity.id, identity.cluster, {}, frozenset())
        numbers = {group: last.number for group, last in last_replicas.read_all(connection).items()}
        found, fenced = _groups(connection, identity.incarnation, numbers)
    for group, written in _marks(directory).items():
        known = found.get(group) or emptied(numbers.get(group, UNNUMBERED))
        if shortfall := known.shortfall(written):
            raise DamagedLog(place, f"group {group}: {shortfall}")
    last = {group: each.last_index for group, each in found.items()}
    return Inspection(identity.id, identity.cluster, last, fenced)


def _groups(
    connection: apsw.Connection, incarnation: str, numbers: Mapping[int, ReplicaNumber]
) -> tuple[dict[int, HighwaterMark], frozenset[int]]:
    """How far each group has come according to its rows, and the groups that are fenced."""
    states, rows = read_hard_states(connection), replicas.read_all(connection)
    found = {}
    for group in sorted(states.keys() | rows.keys()):
        replica = rows.get(group) or replicas.unwritten(incarnation, group)
        head = entries.last(connection, group, replica.empty_head)
        state, number = states.get(group, HardState()), numbers.get(group, UNNUMBERED)
        found[group] = mark(state, head.last_term, head.last_index, number)
    return found, frozenset(group for group, row in rows.items() if row.fenced)


def _marks(directory: RealDirectory) -> dict[int, HighwaterMark]:
    if not directory.exists(HIGHWATER_FILE):
        return {}
    return parse(Path(directory.path(HIGHWATER_FILE)).read_bytes())
