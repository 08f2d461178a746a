"""SQL of the small rows: who the node is, and each group's term and vote; each row has a checksum."""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import apsw
import msgspec

from kraft.node.values import Identity
from kraft.raft.membership.configuration import Member
from kraft.raft.messages import HardState

_INSERT_NODE = (
    "INSERT OR REPLACE INTO node (only, id, incarnation, cluster, members, checksum) VALUES (1,?,?,?,?,?)"
)
_SELECT_NODE = "SELECT id, incarnation, cluster, members, checksum FROM node"
_INSERT_HARD_STATE = "INSERT OR REPLACE INTO hard_state (replica, term, vote, checksum) VALUES (?,?,?,?)"
_SELECT_HARD_STATES = "SELECT replica, term, vote, checksum FROM hard_state ORDER BY replica"

_encode = msgspec.msgpack.Encoder().encode
_decode_members = msgspec.msgpack.Decoder(tuple[Member, ...]).decode


class DamagedRow(Exception):
    """A row's checksum does not match, or it is missing; the argument says which."""


@contextmanager
def typed(row: str) -> Iterator[None]:
    """Raises `DamagedRow` when what is read inside has not even the types that were written."""
    try:
        yield
    except (TypeError, ValueError) as error:  # a text that is no UTF-8 is a ValueError
        raise DamagedRow(f"{row} is damaged ({error})") from error


def write_identity(cursor: apsw.Cursor, identity: Identity) -> None:
    """Replace the row of the node."""
    fields = (identity.id, identity.incarnation, identity.cluster, _encode(identity.members))
    cursor.execute(_INSERT_NODE, (*fields, zlib.crc32(_encode(fields))))


def read_identity(connection: apsw.Connection) -> Identity:
    """Who this database belongs to. Raises `DamagedRow`."""
    with typed("the row that names the node"):
        row = connection.execute(_SELECT_NODE).fetchone()
    if row is None or zlib.crc32(_encode(row[:4])) != row[4]:
        raise DamagedRow("the row that names the node is missing or damaged")
    return Identity(row[0], row[1], row[2], _decode_members(row[3]))


def write_hard_state(cursor: apsw.Cursor, group: int, state: HardState) -> None:
    """Replace the row of a group."""
    checksum = zlib.crc32(_encode((group, state.term, state.vote)))
    cursor.execute(_INSERT_HARD_STATE, (group, state.term, state.vote, checksum))


def read_hard_states(connection: apsw.Connection) -> dict[int, HardState]:
    """Term and vote of every group that has any. Raises `DamagedRow`."""
    states = {}
    with typed("a row of term and vote"):
        rows = list(connection.execute(_SELECT_HARD_STATES))
    for group, term, vote, checksum in rows:
        if zlib.crc32(_encode((group, term, vote))) != checksum:
            raise DamagedRow(f"group {group}: the row of term and vote is damaged")
        states[group] = HardState(term, vote)
    return states
