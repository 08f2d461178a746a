"""Handing leadership over: the next leader gets everything first, then is told to campaign (RD 3.10)."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from kraft.raft.messages import TimeoutNow
from kraft.raft.progress import Progress

if TYPE_CHECKING:
    from kraft.raft.core import Core


class Transfer:
    """One attempt, which lasts as long as an election timeout: a longer pause than an election is no gain."""

    __slots__ = ("_core", "_deadline", "_progress", "_told", "to")

    def __init__(self, core: "Core", progress: Progress) -> None:
        self.to = progress.peer
        self._core = core
        self._progress = progress
        self._deadline = core.ticks + core.settings.election_ticks
        self._told = False

    @property
    def late(self) -> bool:
        """Whether it is to be given up."""
        return self._core.ticks >= self._deadline

    def advance(self) -> None:
        """Say that the time has come, once, when there is nothing left to send."""
        if not self._told and self._progress.match == self._core.log.last_index:
            self._told = True
            self._core.send(self.to, TimeoutNow(self._core.term))

    def repeat(self) -> None:
        """That may have been lost."""
        self._told = False
        self.advance()


def best_voter(core: "Core", progress: Mapping[str, Progress]) -> str:
    """The elector that is to lead next: there, and with the longest log; '' for none."""
    silence = 2 * core.settings.heartbeat_ticks

    def rank(peer: str) -> tuple[bool, int, int]:
        follower = progress[peer]
        there = core.ticks - follower.contact <= silence and not follower.declines
        return there, follower.match, follower.contact

    return max((e for e in core.electors if e in progress), key=rank, default="")
