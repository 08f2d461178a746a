"""The state of one replica as of the last entry applied to it."""

from kraft.kv.machine import Machine


class AppliedState:
    """`machine` holds the result of all entries up to `index`. `Applier` alone moves them forward; a snapshot
    replaces both.

    `bytes` counts those that were applied since the start, as `raft.log.log.entry_bytes` does.

    `fenced` means that the state is known to differ from that of a majority of the replicas: it must not be
    read, and nothing may be proposed on the strength of it, until it is replaced by a copy of the leader's.

    `switching` is the write that makes a received state file the group's, until it is durable, else 0. Until
    then no checkpoint is taken and the log is not cut.
    """

    __slots__ = ("bytes", "fenced", "index", "machine", "switching")

    def __init__(self, machine: Machine, index: int) -> None:
        self.machine = machine
        self.index = index
        self.bytes = 0
        self.fenced = False
        self.switching = 0
