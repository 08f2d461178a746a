"""The last notable events of this node as sentences, for the status page.

It answers the question "what just happened?"; the log has everything. Events that a stranger could cause at
will are left out, so that nobody can push the notable ones out of the journal.
"""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from threading import Lock

from kraft.telemetry.events import LEVELS

ENTRIES_KEPT = 200
ELECTION, RESTART, SNAPSHOT = "election", "restart", "snapshot"  # the marks
TEXT_CHARACTERS_MAX = 300  # of one sentence; a reason may come from another node


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One event: Unix time in seconds, level and name as in the log, and a sentence about this node.

    The sentence goes on from the name of the node: "K1 started". `times` counts the same event in a row, and
    `at` is the last of those times. `term` is the highest that an event of this node has named so far, 0
    before the first: it orders the events of several nodes, whose clocks may differ. `mark` is how charts
    mark the event: ELECTION, RESTART or SNAPSHOT; '' if they do not.
    """

    at: float
    level: str
    event: str
    text: str
    times: int = 1
    term: int = 0
    mark: str = ""


class Journal:
    """Keeps the newest `ENTRIES_KEPT` entries. Thread-safe: storage threads report events too."""

    def __init__(self, wall_seconds: Callable[[], float]) -> None:
        self._wall_seconds = wall_seconds
        self._kept: deque[JournalEntry] = deque(maxlen=ENTRIES_KEPT)
        self._term = 0
        self._several = False  # groups, as far as events have told
        self._lock = Lock()

    def note(self, event: str, fields: Mapping[str, object]) -> None:
        """Add the event if it is notable. Never raises."""
        self._several = self._several or bool(fields.get("group")) or fields.get("groups", 1) != 1
        text, term = sentence(event, fields, several=self._several), fields.get("term")
        level = LEVELS.get(event, "info")
        entry = JournalEntry(self._wall_seconds(), level, event, text, mark=_mark(event, fields))
        with self._lock:
            self._term = max(self._term, term) if isinstance(term, int) else self._term
            if not text:
                return
            entry = replace(entry, term=self._term)
            if self._kept and self._kept[-1].text == text:
                entry = replace(entry, times=self._kept.pop().times + 1)
            self._kept.append(entry)

    def latest(self, count: int) -> tuple[JournalEntry, ...]:
        """Up to `count` entries, the newest first."""
        with self._lock:
            return tuple(reversed(self._kept))[:count]


class _Fields(dict[str, object]):
    """Fields of an event; one that is missing reads as `?`.

    `of_group` and `in_group` are words about the group, and empty for group 0 unless there are `several`: as
    long as a cluster has only that one, its number says nothing.
    """

    several = False

    def __missing__(self, key: str) -> str:
        if key in ("of_group", "in_group"):
            group = self.get("group")
            return f" {key[:2]} group {group}" if group or (self.several and group == 0) else ""
        return "?"


def sentence(event: str, fields: Mapping[str, object], *, several: bool = False) -> str:
    """The event as a sentence that goes on from the name of the node; '' if the event is not notable.

    `several`: there are several groups, so that group 0 is named too.
    """
    words, known = _SENTENCES.get(event, ""), _Fields(fields)
    known.several = several
    text = words(known) if callable(words) else words.format_map(known)
    return text if len(text) <= TEXT_CHARACTERS_MAX else text[: TEXT_CHARACTERS_MAX - 1] + "…"


def _mark(event: str, fields: Mapping[str, object]) -> str:
    if event == "role_changed":
        return ELECTION if fields.get("role") == "leader" else ""
    return _MARKS.get(event, "")


def _role(fields: Mapping[str, object]) -> str:
    """Nothing for a follower: its leader has an entry."""
    words = {
        "leader": "became leader{of_group} in term {term}",
        "precandidate": "heard nothing from a leader{of_group} and tried to become leader",
    }
    return words.get(str(fields["role"]), "").format_map(fields)


def _configuration(fields: Mapping[str, object]) -> str:
    """Of several groups only what a change led to: there may be many changes at a time."""
    group = str(fields["of_group"]).removeprefix(" of ") or "the cluster"
    if fields["of_group"] and fields["joint"] is True:
        return ""
    text = f"learned the voters of {group}: {_names(fields['voters'])}"
    if fields["learners"]:
        text += f"; the learners: {_names(fields['learners'])}"
    return text + ("; the change of the voters is not finished" if fields["joint"] is True else "")


def _clock_off(fields: Mapping[str, object]) -> str:
    return f"found the clock of {fields['peer']} {_offset(fields)} the median of the voters' clocks"


def _log_time_off(fields: Mapping[str, object]) -> str:
    return f"found log time {_offset(fields)} the voters' clocks{fields['in_group']}"


def _offset(fields: Mapping[str, object]) -> str:
    ahead = fields["ahead_seconds"]
    late = isinstance(ahead, int | float) and ahead < 0
    return f"{str(ahead).removeprefix('-')} s {'behind' if late else 'ahead of'}"


def _command(fields: Mapping[str, object]) -> str:
    asked = f", forwarded by {fields['peer']}" if "peer" in fields else ""
    return f"received KRAFT {str(fields['command']).upper()}{asked}"


def _differs(fields: Mapping[str, object]) -> str:
    text = f"found that the data of {fields['replica']}{fields['in_group']} differs"
    return text + ("" if fields["decided"] is True else "; no majority agrees on the right data")


def _slow(fields: Mapping[str, object]) -> str:
    causes = {"disk": "its disk is slow", "event_loop": "its process is held up again and again"}
    return f"became too slow to lead: {causes.get(str(fields['cause']), fields['cause'])}"


def _disk_error(fields: Mapping[str, object]) -> str:
    works = {
        "commit": "wrote the log",
        "checkpoint": "cleared the write-ahead file of the log",
        "highwater": "noted how far the log reaches",
        "state": "took a checkpoint",
        "snapshot": "read or wrote a snapshot",
    }
    operation = str(fields["operation"])
    return f"had a disk error while it {works[operation]}" if operation in works else "had a disk error"


def _sent(fields: Mapping[str, object]) -> str:
    return f"sent a snapshot{fields['of_group']} to {fields['peer']}{_outcome(fields)}"


def _received(fields: Mapping[str, object]) -> str:
    return f"received a snapshot{fields['of_group']} from {fields['peer']}{_outcome(fields)}"


def _outcome(fields: Mapping[str, object]) -> str:
    ends = {"done": "", "abandoned": " in part: it is not needed any more", "failed": " in part: it failed"}
    return ends.get(str(fields["outcome"]), f": {fields['outcome']}")


def _names(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


# Of a snapshot transfer the receiver's events; those of the sender would be second marks of the same.
_MARKS = {
    "node_started": RESTART,
    "node_stopping": RESTART,
    "snapshot_receive_started": SNAPSHOT,
    "snapshot_receive_ended": SNAPSHOT,
    "snapshot_receive_failed": SNAPSHOT,
}

# In the past tense, so that one sentence fits one node or several.
_SENTENCES: dict[str, str | Callable[[Mapping[str, object]], str]] = {
    "node_started": "started",
    "node_stopping": "began to stop",
    "config_reloaded": "reloaded the configuration",
    "config_needs_restart": "found changed options that need a restart",
    "config_refused": "rejected the changed configuration",
    "certificates_loaded": "loaded its certificates",
    "certificates_refused": "rejected changed certificates",
    "certificate_expires": "has a file that expires in {days} days ({use})",
    "cluster_formed": "formed the cluster",
    "cluster_joined": "joined the cluster",
    "votes_not_moved": "could not give group {group} its voters: {reason}",
    "groups_created": "has a replica of each of {groups} groups now",
    "replica_left": "left group {group}",
    "replica_begun": "has a replica of group {group} again",
    "groups_option_ignored": "ignored a setting: {reason}",
    "configuration_changed": _configuration,
    "learner_promoted": "made {learner} a voter{of_group}",
    "clock_off": _clock_off,
    "clock_right": "found the clock of {peer} right again",
    "log_time_off": _log_time_off,
    "log_time_right": "has log time again that agrees with the voters' clocks{in_group}",
    "admin_command": _command,
    "move_began": "began to move slots {slots} from group {group} to group {receiver}",
    "slots_moved": "moved slots {slots} from group {group} to group {receiver}",
    "move_cancelled": "cancelled the move of slots {slots} from group {group} to group {receiver}",
    "move_attempt_failed": "could not move slots {slots} to group {receiver} and will try again: {reason}",
    "role_changed": _role,
    "peer_connected": "connected to {peer}",
    "peer_disconnected": "lost the connection to {peer}: {reason}",
    "disk_full": "ran out of disk space",
    "disk_has_room": "regained disk space",
    "node_slow": _slow,
    "node_recovered": "is fast enough to lead again",
    "storage_failed": _disk_error,
    "snapshot_send_started": "started to send a snapshot{of_group} to {peer}",
    "snapshot_send_ended": _sent,
    "snapshot_receive_started": "started to receive a snapshot{of_group} from {peer}",
    "snapshot_receive_stalled": "could not use a part of the snapshot from {peer}: {reason}",
    "snapshot_receive_ended": _received,
    "snapshot_receive_failed": "failed to receive a snapshot{of_group} from {peer}: {reason}",
    "checkpoint_failed": "had no disk space for a checkpoint{of_group}",
    "replica_differs": _differs,
    "replica_fenced": "found that the local data{of_group} is wrong and stopped serving it",
}
