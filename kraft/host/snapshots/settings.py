"""A snapshot: a copy of the state machine for a replica whose gap the log no longer covers (RD 5.1, 5.4).

The messages, with the leader on the left. The receiver decides the speed:

    SnapshotOffer(base, sum, ...)  ->          repeated until the receiver asks
                                   <-          SnapshotRequest(index, term, after=None)
    SnapshotChunk(after=None, last=k1)  ->
                                   <-          SnapshotRequest(after=k1), once that chunk is in the file
    ...
    SnapshotChunk(after=kn, end=True)  ->      the receiver verifies, loads and switches

A chunk is named by the key that it follows. So every message may be lost, repeated or late, an interrupted
transfer resumes after the last key that was written, and neither side holds more than one chunk of it.
Another node with an equal snapshot can continue a transfer that the first one began. Nothing here decides
about the log: consensus names the followers that need a snapshot, and takes it in when it is complete.
"""

from dataclasses import dataclass

SEND, RECEIVE = "send", "receive"  # directions
DONE, ABANDONED, FAILED = "done", "abandoned", "failed"  # outcomes; abandoned: no longer needed


@dataclass(frozen=True, slots=True)
class SnapshotSettings:
    """`chunk_bytes` is the size of a chunk, `bytes_per_second` the speed for one receiver (0: unlimited).

    `hold` is the number of seconds after which a transfer without progress is given up, with its files.
    """

    chunk_bytes: int
    bytes_per_second: int
    hold: float
