"""A disk whose snapshots and checkpoints begin late."""

from functools import partial


class LateDisk:
    """A disk that begins so many seconds late to open a snapshot, or to write a checkpoint."""

    def __init__(self, disk, clock, seconds):
        self._disk = disk
        self._clock = clock
        self._seconds = seconds

    def open_snapshot(self, group, done):
        self._clock.call_later(self._seconds, partial(self._disk.open_snapshot, group, done))

    def checkpoint(self, group, capture, done):
        self._clock.call_later(self._seconds, partial(self._disk.checkpoint, group, capture, done))
