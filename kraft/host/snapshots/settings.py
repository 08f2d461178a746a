"""A copy of the state machine on its way to a replica that the log cannot serve any more (RD 5.1, 5.4).

The conversation, leader to the left, the receiver decides the speed:

    SnapshotOffer(base, sum, ...)  ->          repeated while nobody asks
                                   <-          SnapshotRequest(index, term, after=None)
    SnapshotChunk(after=None, last=k1)  ->
                                   <-          SnapshotRequest(after=k1), once that piece is in the file
    ...
    SnapshotChunk(after=kn, end=True)  ->      the receiver verifies, loads, switches

Pieces are named by the key they follow, so any message may be lost, doubled or late, a broken transfer goes
on behind the last key that was written, and neither side holds more than one piece of it. Whoever offers an
equal snapshot can go on with what another one began. Nothing here decides anything about the log: consensus
names who needs a copy, and takes it in when it is complete.
"""

from dataclasses import dataclass

SEND, RECEIVE = "send", "receive"  # directions
DONE, ABANDONED, FAILED = "done", "abandoned", "failed"  # outcomes; abandoned: not needed any more


@dataclass(frozen=True, slots=True)
class SnapshotSettings:
    """`chunk_bytes` is the size of a piece, `bytes_per_second` the speed for one receiver (0: no limit).

    `hold`: seconds after which a transfer that does not move is given up, with what it holds on to.
    """

    chunk_bytes: int
    bytes_per_second: int
    hold: float
