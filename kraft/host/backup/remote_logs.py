"""The logs of groups that this node has no replica of, for a backup: their leaders send the entries.

Nodes are asked, not groups: one question to each leader tells how far all its logs reach.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial

import msgspec

from kraft.backup.frames import FRAME_BYTES_MAX
from kraft.backup.ports import LogReach
from kraft.host.backup.remote_checkpoints import Ask
from kraft.node.admin import AdminDone, AdminOutcome, FindLogs, ReadLog
from kraft.node.errors import AdminRefused
from kraft.raft.messages import Entry

FOREIGN = "the leader of group {} does not answer with a part of its log: update it first"
LOST = "the leader of group {} did not answer with its log"

LEADERLESS = "no leader is known"
SILENT = "{} leads and does not answer"
UNSURE = "{} leads no more, or has only just begun"

Found = Callable[[dict[int, LogReach | str]], object]
LogDone = Callable[[Sequence[Entry] | AdminRefused], object]

_entries = msgspec.msgpack.Decoder(list[Entry])


class RemoteLogs:
    """`leader` tells who leads a group, '' if that is not known; `ask` brings a command to a leader."""

    ask: Ask

    def __init__(self, leader: Callable[[int], str]) -> None:
        self._leader = leader

    def find(self, groups: Iterable[int], found: Found) -> None:
        """Ask how far the logs of these groups reach. `found` gets that, or why a leader did not tell it."""
        led = defaultdict[str, list[int]](list)
        for group in groups:
            led[self._leader(group)].append(group)
        leaderless = dict.fromkeys(led.pop("", ()), LEADERLESS)
        search = _Search(len(led), leaderless, found)
        for leader, of_leader in led.items():
            answered = partial(search.answered, leader, of_leader)
            self.ask(of_leader[0], FindLogs(tuple(of_leader)), answered)

    def read(self, group: int, first: int, last: int, done: LogDone) -> None:
        """Read some entries from `first` up to at most `last`; `done` gets none if the log begins later."""
        self._read_part(ReadLog(first, last, 0), group, [], done)

    def _read_part(self, command: ReadLog, group: int, parts: list[bytes], done: LogDone) -> None:
        answered: AdminDone = partial(self._answered, command, group, parts, done)
        self.ask(group, command, answered)

    def _answered(
        self, command: ReadLog, group: int, parts: list[bytes], done: LogDone, outcome: AdminOutcome
    ) -> None:
        if isinstance(outcome, Exception):
            lost = AdminRefused(LOST.format(group))
            done(outcome if isinstance(outcome, AdminRefused) else lost)
            return
        try:
            part, total = msgspec.convert(outcome, tuple[bytes, int])
            parts.append(part)
            size = command.offset + len(part)
            if size > FRAME_BYTES_MAX:
                raise msgspec.ValidationError("a shipped log cannot hold so much")
            if part and size < total:
                self._read_part(msgspec.structs.replace(command, offset=size), group, parts, done)
                return
            entries = _entries.decode(b"".join(parts)) if total else []
            if [entry.index for entry in entries] != [*range(command.first, command.first + len(entries))]:
                raise msgspec.ValidationError("entries are missing")
            done(entries)
        except msgspec.MsgspecError:
            done(AdminRefused(FOREIGN.format(group)))


class _Search:
    """One round of questions, of which so many are not answered."""

    def __init__(self, questions: int, leaderless: Mapping[int, str], found: Found) -> None:
        self._left = questions
        self._found = found
        self._reaches: dict[int, LogReach | str] = dict(leaderless)
        if not questions:
            found(self._reaches)

    def answered(self, leader: str, groups: Collection[int], outcome: AdminOutcome) -> None:
        """The leader of these groups answers what it was asked of them, or not."""
        silent = isinstance(outcome, Exception)
        reason = (SILENT if silent else UNSURE).format(leader)
        if isinstance(outcome, AdminRefused):
            reason = str(outcome)  # such as that it is of an earlier version
        self._reaches |= dict.fromkeys(groups, reason)
        try:
            answer = [] if silent else outcome
            for group, first, applied in msgspec.convert(answer, list[tuple[int, int, int]]):
                if group in groups:
                    self._reaches[group] = LogReach(first, applied, led=True)
        except msgspec.ValidationError:
            pass  # of another version: as one that does not answer
        self._left -= 1
        if not self._left:
            self._found(self._reaches)
