"""The nodes of a golden script: the real `Raft` with a disk of rows. They report every effect to the stage.

An actor carries out each `Ready` at once and in order, as the host does; only its disk may be slow. It posts
messages and never delivers any.
"""

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple, Protocol

from kraft.raft.invariants import InvariantChecker
from kraft.raft.membership.configuration import Configuration
from kraft.raft.messages import Message
from kraft.raft.ports import RaftSettings, Restored
from kraft.raft.raft import Raft
from kraft.raft.ready import Outgoing, Persist, Ready
from tests.raft import wording
from tests.raft.disk import Disk, Image


class Wire(NamedTuple):
    """A message in flight."""

    sender: str
    to: str
    message: Message


class Stage(Protocol):
    """What an actor plays on."""

    checker: InvariantChecker

    def say(self, text: str) -> None:
        """Add a line to the trace."""

    def post(self, wire: Wire) -> None:
        """Take a message."""


class Actor:
    """One node with its disk. What its core reports, and what changes in it, is said on the stage."""

    def __init__(
        self, stage: Stage, name: str, restored: Restored, settings: RaftSettings, jitter: int
    ) -> None:
        self.stage = stage
        self.name = name
        self.incarnation = name
        self.settings = settings
        self.jitter = jitter
        self.slow = False
        self.disk = Disk(restored)
        self.start(restored)

    def start(self, restored: Restored) -> None:
        """Begin from what the disk has."""
        self.node = Raft(
            id=self.name,
            group=0,
            settings=self.settings,
            restored=restored,
            jitter=lambda n: min(self.jitter, n - 1),
            wall_clock=lambda: 0,
            observer=self,
            incarnation=self.incarnation,
        )
        self.up = True
        self.writes: deque[tuple[Persist, tuple[Outgoing, ...]]] = deque()
        image = self.disk.image
        self.applied = [*image.applied, *self.disk.read(image.base.index + 1, restored.commit)]
        self._role = ("", 0, "")
        self._seen = self._now()
        self.stage.checker.restarted(self.node)

    def say(self, text: str) -> None:
        self.stage.say(f"{self.name} {text}")

    # What the core reports

    def role_changed(self, group: int, role: str, term: int, leader: str) -> None:
        if (role, term, leader) != self._role:
            self._role = (role, term, leader)
            self.say(wording.following(role, term, leader))

    def election_ended(self, group: int, kind: str, outcome: str) -> None:
        self.say(f"{kind} {outcome}")

    def entries_resent(self, group: int, peer: str, size: int) -> None:
        pass

    # What changes in it

    def _now(self) -> tuple[int, Configuration, int]:
        return self.node.state.commit, self.node.state.configuration, self.node.state.log.base.index

    def _compare(self) -> None:
        before, now = self._seen, self._now()
        self._seen = now
        if now[0] != before[0]:
            self.say(f"commits {now[0]}")
        if now[1] != before[1]:
            self.say(f"goes by {wording.configuration(now[1])}")
        if now[2] != before[2]:
            self.say(f"forgets its log up to {now[2]}")

    # Carrying out

    def act(self) -> None:
        """Carry out everything that the last input led to."""
        self._compare()
        self.stage.checker.step(self.node)
        while (ready := self.node.take_ready()) is not None:
            self._carry_out(ready)
            if not self.slow:
                self.finish_writes()

    def _carry_out(self, ready: Ready) -> None:
        self.stage.checker.ready(self.node, ready)
        self._post(ready.send_now)
        if ready.persist is not None:
            self._begin_write(ready.persist, ready.send_after_persist)
        if ready.restored is not None:
            image = self.disk.states[max(self.disk.states)]
            self.applied = [*image.applied, *self.applied[len(image.applied) :]]
        if ready.apply:
            self.applied += ready.apply
            self.say(f"applies {wording.span(ready.apply)}")
        for read in ready.reads:
            self.say(f"answers read {read.ctx} at {read.index}")
        for ctx in ready.reads_failed:
            self.say(f"fails read {ctx}")
        for peer in ready.snapshots:
            self.say(f"names {peer} for a snapshot")
        for fetch in ready.fetch:
            self.node.fetched(fetch.peer, self.disk.read(fetch.first, fetch.last))

    def _post(self, messages: Iterable[Outgoing]) -> None:
        for outgoing in messages:
            self.stage.checker.sent(self.node, outgoing)
            self.stage.post(Wire(self.name, outgoing.to, outgoing.message))

    def _begin_write(self, persist: Persist, after: tuple[Outgoing, ...]) -> None:
        verb = f"begins write {persist.sequence}:" if self.slow else "writes"
        self.say(f"{verb} {wording.write(persist)}")
        self.writes.append((persist, after))

    def finish_writes(self, count: int = -1) -> None:
        """Finish the oldest `count` writes, all of them for -1."""
        while self.writes and count:
            count -= 1
            persist, after = self.writes.popleft()
            self.disk.write(persist)
            if self.slow:
                self.say(f"finishes write {persist.sequence}")
            self.node.persisted(persist.sequence)
            self._compare()
            self.stage.checker.step(self.node)
            self._post(after)

    def checkpoint(self) -> Image:
        """Bring the state file to what is applied now."""
        image = Image(self.node.state.base_at(len(self.applied)), tuple(self.applied))
        self.disk.states[self.disk.state] = image
        return image

    def crash(self, reached: int) -> None:
        """Die. The oldest `reached` unfinished writes are on disk, though nobody heard; the rest is lost."""
        for number, (persist, _) in enumerate(self.writes):
            if number < reached:
                self.disk.write(persist)
                self.say(f"leaves behind write {persist.sequence}")
            else:
                self.say(f"loses write {persist.sequence}")
        self.up = False
