"""SQL of the row that says who the node is."""

import apsw
import msgspec

from kraft.node.values import Identity
from kraft.peerwire.codec import GROUPS_MAX
from kraft.raft.membership.configuration import Member
from kraft.storage.errors import NewerVersion
from kraft.storage.rows import DamagedRow, seal, select, unseal

_INSERT_NODE = (
    "INSERT OR REPLACE INTO node (only, id, incarnation, cluster, members, checksum) VALUES (1,?,?,?,?,?)"
)
_SELECT_NODE = "SELECT id, incarnation, cluster, members, checksum FROM node"

_NODE_DAMAGED = "the row that names the node is missing or damaged"

_encode = msgspec.msgpack.Encoder().encode


def write_identity(cursor: apsw.Cursor, identity: Identity) -> None:
    """Replace the row of the node, inside a transaction.

    With several groups their number comes before the members, and the file is of schema 3: an earlier
    program refuses it by that number. It would look for all keys in group 0. If some of them were created
    later, the number of those follows, and the schema is 4.
    """
    numbers = (identity.groups, identity.created) if identity.created else (identity.groups,)
    members = _encode((*numbers, *identity.members) if identity.total > 1 else identity.members)
    cursor.execute(_INSERT_NODE, seal((identity.id, identity.incarnation, identity.cluster, members)))


def read_identity(connection: apsw.Connection) -> Identity:
    """The node that this database belongs to. Raises `DamagedRow`, or `NewerVersion` for too many groups."""
    rows = select(connection, _SELECT_NODE, "the row that names the node")
    if not rows:
        raise DamagedRow(_NODE_DAMAGED)
    id_, incarnation, cluster, members = unseal(rows[0], _NODE_DAMAGED)
    identity = Identity(id_, incarnation, cluster, *_decode_members(members))
    if identity.total > GROUPS_MAX:
        raise NewerVersion(
            f"{connection.filename} is of a cluster with {identity.total} groups, this version of kraft"
            f" supports up to {GROUPS_MAX}: run the newer kraft that wrote it"
        )
    return identity


def _decode_members(data: bytes) -> tuple[tuple[Member, ...], int, int]:
    """The founders, and the numbers of groups: at the beginning, and created since."""
    values = msgspec.msgpack.decode(data)
    numbers = [each for each in values if isinstance(each, int)]
    groups, created = (*numbers, *(1, 0)[len(numbers) :])
    return msgspec.convert(values[len(numbers) :], tuple[Member, ...]), groups, created
