"""Where the votes of all groups should be: one row in the ledger of group 0.

It says what administrators want. Which nodes vote in a group, its own configuration says; the leader of
group 0 brings the one to the other, step by step (`kraft.host.placement`).
"""

from collections.abc import Callable
from typing import Any

import msgspec

from kraft.kv.commands import ChangePlacement
from kraft.kv.ledger import Ledger, LedgerKind
from kraft.kv.replies import Reply
from kraft.kv.state import MachineState


class PlacementState(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """`replication` is the number of nodes that vote in a group, 0 for all members: then nothing is placed.

    While `settling`, votes are moved until all nodes have about as many; with a replication of 0, until all
    members vote in all groups. The nodes `leaving` get no votes, and lose those that they have. `version`
    counts the changes.
    """

    version: int = 0
    replication: int = 0
    settling: bool = False
    leaving: tuple[str, ...] = ()

    @property
    def active(self) -> bool:
        """Whether the cluster places votes itself."""
        return self.replication > 0 or self.settling


UNPLACED = PlacementState()


def saved_placement(ledger: Ledger) -> PlacementState:
    """What the ledger of group 0 says."""
    row = ledger.get(LedgerKind.PLACEMENT, b"")
    return UNPLACED if row is None else _decode(row.value)


def _change(state: MachineState, command: ChangePlacement) -> Reply:
    ledger = state.keyspace.ledger
    known = saved_placement(ledger)
    if command.version != known.version:
        return [0, known.version]
    changed = PlacementState(known.version + 1, command.replication, command.settling, command.leaving)
    ledger.put(LedgerKind.PLACEMENT, b"", _encode(changed), state.revision)
    return [1, changed.version]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(PlacementState).decode


FUNCTIONS: dict[type, Callable[[MachineState, Any], Reply]] = {ChangePlacement: _change}
"""The function of the command on the placement."""
