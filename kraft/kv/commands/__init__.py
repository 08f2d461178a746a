"""The closed, versioned set of commands of the state machine, and their encoding.

A command is a frozen value that the leader logs and every replica applies; its effect depends on the state,
the batch's stamp and these fields alone. `kraft.server` turns client requests into commands; nothing here
knows their text. A new command gets a new tag, and a `since` above every version that was ever released.
"""

from kraft.kv.commands.codec import (
    FORMAT_VERSION,
    Command,
    decode,
    encode,
    needed_version,
)
from kraft.kv.commands.keys import ClearExpiry, Delete, Expire, Expiry, Guard, absolute_expiry
from kraft.kv.commands.strings import (
    VALUE_BYTES_MAX,
    AppendValue,
    Condition,
    GetDelete,
    Increment,
    Put,
    Set,
    SetMany,
    SetRange,
)
from kraft.kv.replies import CommandFailure, Reply

__all__ = [
    "FORMAT_VERSION",
    "VALUE_BYTES_MAX",
    "AppendValue",
    "ClearExpiry",
    "Command",
    "CommandFailure",
    "Condition",
    "Delete",
    "Expire",
    "Expiry",
    "GetDelete",
    "Guard",
    "Increment",
    "Put",
    "Reply",
    "Set",
    "SetMany",
    "SetRange",
    "absolute_expiry",
    "decode",
    "encode",
    "needed_version",
]
