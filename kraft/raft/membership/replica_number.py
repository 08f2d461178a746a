"""The numbers by which a group tells the replicas of one node apart.

A node that has left a group may come back to it with an empty log, while messages of its earlier replica are
still under way. The replica that it then has is another member: its number is the term and index of the entry
that adds it, which no other entry of the group has. Later replicas of a node have higher numbers, as a leader
adds one only after the removal of the one before is committed.

The members that founded a cluster or came by `KRAFT ADD` have no number. The incarnation of a member is that
of its node, and with a number `node#term.index`. docs/design/placement.md has the rules.
"""

import msgspec

_MARK = "#"


class ReplicaNumber(msgspec.Struct, frozen=True, array_like=True, order=True, gc=False):
    """The term and index of the entry that added a replica to its group; they compare in this order."""

    term: int
    index: int


UNNUMBERED = ReplicaNumber(0, 0)
NEVER = ReplicaNumber(0, -1)
"""In place of the number of the last replica, on a node that never had one: below all others."""


def number_of(incarnation: str) -> ReplicaNumber:
    """The number in the incarnation of a member, `UNNUMBERED` without one. Raises `ValueError`."""
    _, mark, text = incarnation.partition(_MARK)
    if not mark:
        return UNNUMBERED
    term, _, index = text.partition(".")
    number = ReplicaNumber(int(term), int(index))
    if min(number.term, number.index) < 1 or text != f"{number.term}.{number.index}":
        raise ValueError(f"{text!r} is no number of a replica")
    return number


def node_of(incarnation: str) -> str:
    """The incarnation of the node whose replica has this incarnation."""
    return incarnation.partition(_MARK)[0]


def numbered(node: str, number: ReplicaNumber) -> str:
    """The incarnation of a replica of a node with the incarnation `node`."""
    return node if number == UNNUMBERED else f"{node}{_MARK}{number.term}.{number.index}"


def awaiting_number(node: str) -> str:
    """In place of the incarnation of a replica that is to be added, and gets its number with its entry."""
    return node + _MARK


def any_replica(node: str) -> str:
    """Among the retired: a replica of the node has left, and the node comes back with a number only."""
    return node + _MARK


def awaits_number(incarnation: str) -> bool:
    """Whether the replica gets its number with the entry that adds it."""
    return incarnation.endswith(_MARK)
