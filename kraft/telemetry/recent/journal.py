"""The last notable events of this node as sentences, for the status page.

What a stranger could cause at will is not among them, so that nobody can wash the rest away. The log has
everything; this is what a person wants to know who asks "what happened just now?".
"""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from threading import Lock

from kraft.telemetry.events import LEVELS

EVENTS_KEPT = 200
TEXT_CHARACTERS_MAX = 300  # of one sentence; reasons may come from another node


@dataclass(frozen=True, slots=True)
class Happening:
    """One event: Unix time in seconds, level and name as in the log, and a sentence about this node.

    `times`: it happened so often in a row; `at` is the last time.
    """

    at: float
    level: str
    event: str
    text: str
    times: int = 1


class Journal:
    """Keeps the newest `EVENTS_KEPT`; the threads of the storage tell of events too."""

    def __init__(self, wall_seconds: Callable[[], float]) -> None:
        self._wall_seconds = wall_seconds
        self._kept: deque[Happening] = deque(maxlen=EVENTS_KEPT)
        self._lock = Lock()

    def note(self, event: str, fields: Mapping[str, object]) -> None:
        """Keep the event if it is one of the notable ones. Never raises."""
        text = sentence(event, fields)
        if not text:
            return
        happening = Happening(self._wall_seconds(), LEVELS.get(event, "info"), event, text)
        with self._lock:
            if self._kept and self._kept[-1].text == text:
                happening = replace(happening, times=self._kept.pop().times + 1)
            self._kept.append(happening)

    def latest(self, count: int) -> tuple[Happening, ...]:
        """The newest first."""
        with self._lock:
            return tuple(reversed(self._kept))[:count]


class _Fields(dict[str, object]):
    """An event that lacks a field is still told."""

    def __missing__(self, key: str) -> str:
        return "?"


def sentence(event: str, fields: Mapping[str, object]) -> str:
    """What the event means, in words that follow the name of the node; '' when it is not notable."""
    words = _SENTENCES.get(event, "")
    text = words(_Fields(fields)) if callable(words) else words.format_map(_Fields(fields))
    return text if len(text) <= TEXT_CHARACTERS_MAX else text[: TEXT_CHARACTERS_MAX - 1] + "…"


def _role(fields: Mapping[str, object]) -> str:
    """Followers tell nothing: their leader has."""
    words = {
        "leader": "became leader of group {group} in term {term}",
        "precandidate": "heard no leader of group {group} and asked for an election",
    }
    return words.get(str(fields["role"]), "").format_map(fields)


def _configuration(fields: Mapping[str, object]) -> str:
    text = f"saw the voters of group {fields['group']} become {_names(fields['voters'])}"
    if fields["learners"]:
        text += f", learners {_names(fields['learners'])}"
    return text + (", while the voters are being changed" if fields["joint"] is True else "")


def _command(fields: Mapping[str, object]) -> str:
    asked = f", asked by {fields['peer']}" if "peer" in fields else ""
    return f"was given KRAFT {str(fields['command']).upper()}{asked}"


def _differs(fields: Mapping[str, object]) -> str:
    text = f"found that the data of {fields['replica']} in group {fields['group']} differed"
    return text + ("" if fields["decided"] is True else ", and no majority to tell who is right")


def _names(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


# In the past tense: the same words are true of one node and of several.
_SENTENCES: dict[str, str | Callable[[Mapping[str, object]], str]] = {
    "node_started": "started",
    "node_stopping": "began to stop",
    "config_reloaded": "read the configuration again",
    "config_needs_restart": "read options that only a restart takes",
    "config_refused": "refused the changed configuration",
    "cluster_formed": "formed the cluster",
    "cluster_joined": "joined the cluster",
    "configuration_changed": _configuration,
    "learner_promoted": "gave {node} a vote in group {group}",
    "admin_command": _command,
    "role_changed": _role,
    "peer_connected": "linked up with {peer}",
    "peer_disconnected": "lost the link to {peer}: {reason}",
    "disk_full": "ran out of disk space",
    "disk_has_room": "got room on the disk again",
    "storage_failed": "met an error of the disk: {operation}",
    "snapshot_send_started": "began to send a snapshot of group {group} to {peer}",
    "snapshot_send_ended": "ended sending a snapshot of group {group} to {peer}: {outcome}",
    "snapshot_receive_started": "began to receive a snapshot of group {group} from {peer}",
    "snapshot_receive_stalled": "could not use a piece of the snapshot from {peer}: {reason}",
    "snapshot_receive_ended": "ended receiving the snapshot of group {group}: {outcome}",
    "snapshot_receive_failed": "could not receive the snapshot of group {group} from {peer}: {reason}",
    "checkpoint_failed": "found no room for a checkpoint of group {group}",
    "replica_differs": _differs,
    "replica_fenced": "found wrong data in group {group} here, and stopped reads of it",
}
