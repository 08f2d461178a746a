"""How the entries of a leader reach its followers: from memory, from disk, or within a snapshot."""

from collections.abc import Sequence

from msgspec import structs

from kraft.raft.log.log import entry_bytes
from kraft.raft.messages import Append, Entry
from kraft.raft.progress import Progress, ProgressState
from kraft.raft.ready import Fetch
from kraft.raft.state import ReplicaState
from kraft.raft.tracker import Tracker

# Of entries in a probe: enough for the first entry of a new leader, which should not cost another round trip,
# and little to send in vain where the logs do not meet.
PROBE_BYTES = 4 << 10


class Replication:
    """Sends each follower what it lacks, as far as its window allows.

    `_shared` is the last message and its size in bytes: followers in step get the same one.
    """

    __slots__ = ("_shared", "_state", "_tracker")

    def __init__(self, state: ReplicaState, tracker: Tracker) -> None:
        self._state = state
        self._tracker = tracker
        self._shared: tuple[Append, int] | None = None

    def send(self, progress: Progress) -> None:
        """Send the follower what it lacks, or ask for what must be read or copied first."""
        state, log = self._state, self._state.log
        if progress.state is ProgressState.PROBE:
            if progress.match < log.last_index and progress.may_send:
                self.probe(progress)
            return
        while progress.next <= log.last_index and progress.may_send:
            if progress.next < log.first_index:
                self._needs_snapshot(progress)
                return
            if progress.next < log.tail_first:
                progress.fetching = True
                last, max_bytes = log.tail_first - 1, min(state.settings.message_bytes, progress.window // 2)
                state.effects.fetch.append(Fetch(progress.peer, progress.next, last, max_bytes))
                return
            self._send_append(progress, *self._append_from(progress.next, progress))

    def _append_from(self, first: int, progress: Progress) -> tuple[Append, int]:
        """The message that starts at `first`, and its size in bytes."""
        state = self._state
        shared = self._shared
        if shared is not None:
            message, size = shared
            if (
                message.prev_index == first - 1
                and message.commit == state.commit
                and message.entries[-1].index == state.log.last_index
                and (2 * size <= progress.window or len(message.entries) == 1)
            ):
                return shared
        max_bytes = min(state.settings.message_bytes, progress.window // 2)
        entries, size = state.log.entries_within(first, max_bytes)
        message = Append(state.term, first - 1, state.log.term(first - 1), state.commit, entries)
        self._shared = (message, size)
        return self._shared

    def _send_append(self, progress: Progress, message: Append, size: int) -> None:
        last = message.entries[-1].index
        if message.prev_index < progress.sent_index:
            self._count_resent(progress, message.entries)
        progress.sent(last, size, self._state.ticks)
        progress.commit_sent = max(progress.commit_sent, min(message.commit, last))
        self._state.effects.send_now(progress.peer, message)

    def _count_resent(self, progress: Progress, entries: Sequence[Entry]) -> None:
        resent = sum(entry_bytes(entry) for entry in entries if entry.index <= progress.sent_index)
        self._state.observer.entries_resent(self._state.group, progress.peer, resent)

    def probe(self, progress: Progress) -> None:
        """Ask whether the follower holds everything before `next`, with hardly a byte of entries (RD 3.5).

        In the state `replicate` that asks whether everything that was sent has arrived. A repeated probe has
        no entries at all: the first one may only be slow.
        """
        state, log = self._state, self._state.log
        first = progress.next
        if first < log.first_index:
            self._needs_snapshot(progress)
            return
        previous = first - 1
        message = Append(state.term, previous, log.term(previous), state.commit, ())
        searching = progress.state is ProgressState.PROBE and not progress.probing
        if searching and log.tail_first <= first <= log.last_index:
            entries, size = log.entries_within(first, min(PROBE_BYTES, state.settings.message_bytes))
            if size <= PROBE_BYTES:
                self._send_append(progress, structs.replace(message, entries=entries), size)
                return
        progress.probed(state.ticks)
        state.effects.send_now(progress.peer, message)

    def fetched(self, peer: str, entries: Sequence[Entry]) -> None:
        """Older entries for `peer` were read from disk; none if they were cut off before."""
        state, log = self._state, self._state.log
        progress = self._tracker.progress.get(peer)
        if progress is None:
            return
        fetching, progress.fetching = progress.fetching, False
        state.effects.wants_replication = True
        if progress.state is not ProgressState.REPLICATE or not progress.may_send:
            return
        if not entries:
            if fetching:
                self._needs_snapshot(progress)
            return
        # Since they were asked for, the follower may have moved, the log may have been cut, or (in an earlier
        # term) changed.
        if entries[0].index != progress.next or progress.next < log.first_index:
            return
        if log.matches(entries[-1].index, entries[-1].term):
            previous = progress.next - 1
            message = Append(state.term, previous, log.term(previous), state.commit, tuple(entries))
            self._send_append(progress, message, sum(map(entry_bytes, entries)))

    def _needs_snapshot(self, progress: Progress) -> None:
        progress.snapshot()
        if not self._tracker.departing(progress.peer):  # a removed member needs no data any more
            self._state.effects.snapshots.append(progress.peer)

    def snapshot_ended(self, peer: str) -> None:
        """The copying to `peer` ended, successfully or not."""
        progress = self._tracker.progress.get(peer)
        if progress is not None:
            # Where there is no entry to probe with, it lacks the last one, and is named again at once.
            log = self._state.log
            progress.snapshot_ended(min(log.first_index, log.last_index))
            self._state.effects.wants_replication = True
