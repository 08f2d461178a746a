"""How a replica begins: with a first entry that all members write, or with an empty log."""

from dataclasses import dataclass

from kraft.kv.created_groups import first_configuration
from kraft.kv.ledger import Ledger
from kraft.node.values import Identity
from kraft.raft.membership.configuration import Configuration, decode
from kraft.raft.messages import Entry, EntryKind, HardState
from kraft.raft.ports import Restored
from kraft.raft.ready import Persist


@dataclass(frozen=True, slots=True)
class Beginning:
    """The first write of a replica, and its state after that."""

    persist: Persist
    restored: Restored


EMPTY = Beginning(
    Persist(0, HardState(), None, (), commit=0),
    Restored(HardState(), 0, 0, (), (), (), 0),
)
"""Of a node that was added: its log is empty, and the leader fills it."""


def first_entry(configuration: Configuration) -> Beginning:
    """Of a member from the beginning: the configuration is committed, because all members write the same."""
    first = Entry(1, 1, 0, EntryKind.CONFIGURATION, configuration.encode())
    return Beginning(
        Persist(0, HardState(term=1), None, (first,), commit=1),
        Restored(HardState(term=1), 1, 1, ((1, 1),), (first,), ((1, configuration),), 0),
    )


def of_created(ledger: Ledger, group: int, identity: Identity) -> Beginning:
    """Of a group that the `ledger` of group 0 says was created; `EMPTY` if the node was no member then.

    Such a node is added to it by a later entry, as to any other group.
    """
    data = first_configuration(ledger, group)
    if data is None:
        raise LookupError(f"group {group} was not created")
    configuration = decode(data)
    mine = configuration.member(identity.id)
    is_member = mine is not None and mine.incarnation == identity.incarnation
    return first_entry(configuration) if is_member else EMPTY
