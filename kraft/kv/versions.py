"""Machine versions: which commands a program knows, and which a cluster may use.

A program supports every version from `MACHINE_VERSION_MIN` up to `MACHINE_VERSION`. A cluster has one
*version in force*, part of its replicated state: 1 until its leader raises it with a logged entry, which the
leader does once every member supports more. A command newer than the version in force is never logged, so an
older program never meets a command that it cannot apply. docs/upgrade.md has the procedure.

    version   commands added
    1         Put Set SetMany GetDelete AppendValue Delete Increment Expire ClearExpiry
    2         SetRange
    3         SetIf DeleteIf GetExpire SetManyIf IncrementFloat CompareAndSet Rename Copy
              SetBit BitOperation BitField Flush
              Lock Unlock Extend Guarded Exec Evaluated Once LoadScript FlushScripts
              PutLibrary DeleteLibrary FlushLibraries
    4         Prepare Commit Resolve Forget Decide ChangeUsers
    5         Open Import Freeze Activate Cancel Unfreeze Release Sweep Close
              PlanMove RenewMove StopMove EndMove
    6         PlanMoves AddGroups
    7         CommitOnce ChangePlacement
    8         none: members of a group may be replicas with numbers (`raft.membership.replica_number`)
"""

from kraft.int64 import parse_int64
from kraft.kv.errors import UnknownCommand

MACHINE_VERSION_MIN = 1
MACHINE_VERSION = 8
REPLICA_NUMBERS = 8


def encode_version(version: int) -> bytes:
    """The data of a VERSION entry."""
    return b"%d" % version


def decode_version(data: bytes) -> int:
    """Inverse of `encode_version`. Raises `UnknownCommand`."""
    version = parse_int64(data)
    if version is None or version < MACHINE_VERSION_MIN:
        raise UnknownCommand(f"{data[:20]!r} is no machine version")
    return version
