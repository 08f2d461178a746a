"""Why the host did not do what it was asked: refused (certainly not done), or uncertain."""


class Refused(Exception):
    """Certainly not done: nothing was proposed."""


class NoLeader(Refused):
    """No leader or no quorum is known here for `group` (the argument)."""


class NotLeader(Refused):
    """This replica is not the leader; args are (group, leader id or '')."""


class Busy(Refused):
    """Waited unlogged until the deadline."""


class DiskFull(Refused):
    """This node's disk is full and no other leader is known; the argument says which directory."""


class Stopping(Refused):
    """The node is shutting down."""


class TooStale(Refused):
    """The last contact with the leader of the group (the argument) is longer ago than a reader accepts."""


class AdminRefused(Refused):
    """An administrator's command cannot be done now; the argument says why, and what to do instead."""


class Uncertain(Exception):
    """Logged or sent, but the outcome is unknown."""
