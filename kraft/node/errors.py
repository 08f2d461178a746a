"""The two ways in which a request can fail: it was refused, and certainly not done, or it is uncertain."""


class Refused(Exception):
    """The request was certainly not done: nothing was proposed."""


class NoLeader(Refused):
    """This node knows no leader, or no quorum, of the group. Argument: the group's id."""

    def __str__(self) -> str:
        return f"group {self.args[0]} has no leader"


class NotLeader(Refused):
    """This replica is not the leader. Arguments: the group's id, and the id of the leader or ''."""

    def __str__(self) -> str:
        return f"the leader of group {self.args[0]} is {self.args[1] or 'not known'}"


class Busy(Refused):
    """The request waited until its deadline, and was not logged."""


class TooManyWaiters(Refused):
    """Too many clients of this node wait for locks."""


class DiskFull(Refused):
    """The disk of this node is full, and no other leader is known. Argument: the directory, if known."""


class CheckpointFailed(Refused):
    """The checkpoint that a command needs could not be written: no disk space, or no file could be opened."""


class Stopping(Refused):
    """The node is stopping."""


class TooStale(Refused):
    """The last contact with the leader of the group is too long ago. Argument: the group's id."""

    def __str__(self) -> str:
        return f"the last contact with the leader of group {self.args[0]} is too long ago"


class Locked(Refused):
    """Others locked, moved or changed the keys for too long. Argument: the id of a group."""

    def __str__(self) -> str:
        return f"others use the keys in group {self.args[0]}"


class TooMuch(Refused):
    """Keys that have to be read under locks hold too much. Argument: the most bytes of one group."""


class EntryTooLarge(Refused):
    """What would be logged does not fit into one entry. Argument: the most bytes of an entry."""


class ReplyTooLong(Refused):
    """What a token would have to remember of a transaction over several groups. Argument: the most bytes."""


class NotOwner(Refused):
    """The slot of a key belongs to another group by now. Argument: the id of the group that was asked."""

    def __str__(self) -> str:
        return f"the slot belongs to group {self.args[0]} no more"


class VersionTooLow(Refused):
    """A command needs a machine version that is not in force; the argument says so, and what to do."""


class AdminRefused(Refused):
    """An administrator's command cannot be done now. Argument: the reason, and what to do instead."""


class Uncertain(Exception):
    """The request was logged, or sent to the leader, and its outcome is unknown."""
