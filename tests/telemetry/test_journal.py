"""Events as sentences."""

import pytest

from kraft.telemetry.event_log import EventLog
from kraft.telemetry.events import LEVELS
from kraft.telemetry.recent.journal import (
    _SENTENCES,
    ELECTION,
    ENTRIES_KEPT,
    RESTART,
    SNAPSHOT,
    TEXT_CHARACTERS_MAX,
    Journal,
    JournalEntry,
    sentence,
)
from tests.telemetry.clock import HostClock


@pytest.mark.parametrize(
    ("event", "fields", "told"),
    [
        ("role_changed", {"group": 0, "role": "leader", "term": 7, "leader": "K1"},
         "became leader in term 7"),
        ("role_changed", {"group": 0, "role": "follower", "term": 7, "leader": "K1"}, ""),
        ("configuration_changed", {"group": 1, "voters": ("K1", "K2"), "learners": (), "joint": False},
         "switched group 1 to the voters K1, K2"),
        ("configuration_changed", {"group": 1, "voters": ("K1",), "learners": ("K4",), "joint": True},
         "switched group 1 to the voters K1 and the learners K4; the change of the voters is not finished"),
        ("admin_command", {"command": "add"}, "received KRAFT ADD"),
        ("admin_command", {"command": "add", "peer": "K2"}, "received KRAFT ADD, forwarded by K2"),
        ("replica_differs", {"group": 0, "replica": "K3", "index": 9, "decided": False},
         "found that the data of K3 differs; no majority agrees on the right data"),
        ("snapshot_send_started", {"group": 0, "peer": "K4", "index": 9, "bytes": 1},
         "started to send a snapshot to K4"),
        ("snapshot_send_started", {"group": 3, "peer": "K4", "index": 9, "bytes": 1},
         "started to send a snapshot of group 3 to K4"),
        ("configuration_changed", {"group": 0, "voters": ("K1",), "learners": (), "joint": False},
         "switched the cluster to the voters K1"),
        ("client_rejected", {"reason": "max_clients"}, ""),
        ("peer_refused", {"address": "1.2.3.4", "reason": "?"}, ""),
        ("no_such_event", {}, ""),
        ("peer_connected", {}, "connected to ?"),
    ],
)  # fmt: skip
def test_an_event_in_words(event: str, fields: dict[str, object], told: str) -> None:
    assert sentence(event, fields) == told


@pytest.mark.parametrize(
    ("event", "fields", "mark"),
    [
        ("role_changed", {"role": "leader", "group": 0, "term": 7}, ELECTION),
        ("role_changed", {"role": "precandidate", "group": 0}, ""),
        ("node_started", {}, RESTART),
        ("node_stopping", {}, RESTART),
        ("snapshot_receive_ended", {}, SNAPSHOT),
        ("snapshot_send_ended", {}, ""),
        ("peer_connected", {}, ""),
    ],
)
def test_some_events_have_a_mark_in_charts(event: str, fields: dict[str, object], mark: str) -> None:
    journal = Journal(HostClock().wall_seconds)
    journal.note(event, fields)
    assert [entry.mark for entry in journal.latest(1)] == [mark]


def test_only_events_of_the_log_have_sentences() -> None:
    assert set(_SENTENCES) <= set(LEVELS)


@pytest.mark.parametrize("event", sorted(_SENTENCES))
def test_an_event_without_its_fields_is_told_all_the_same(event: str) -> None:
    sentence(event, {})


def test_the_newest_come_first_and_the_oldest_go() -> None:
    clock = HostClock()
    journal = Journal(clock.wall_seconds)
    for number in range(ENTRIES_KEPT + 3):
        clock.clock.advance(1)
        journal.note("peer_connected", {"peer": f"K{number}"})

    first, second, *_ = journal.latest(ENTRIES_KEPT + 10)

    assert len(journal.latest(ENTRIES_KEPT + 10)) == ENTRIES_KEPT
    assert first == JournalEntry(1203.0, "info", "peer_connected", "connected to K202")
    assert second.text == "connected to K201"
    assert journal.latest(1) == (first,)


def test_the_same_again_is_counted() -> None:
    clock = HostClock()
    journal = Journal(clock.wall_seconds)
    for _ in range(3):
        clock.clock.advance(1)
        journal.note("checkpoint_failed", {"group": 0, "index": 5})

    [only] = journal.latest(9)

    assert (only.times, only.at, only.level) == (3, 1003.0, "error")


def test_a_sentence_has_a_longest_length() -> None:
    told = sentence("peer_disconnected", {"peer": "K2", "reason": "x" * 10_000})

    assert len(told) == TEXT_CHARACTERS_MAX
    assert told.endswith("…")


def test_what_is_told_to_the_log_is_noted() -> None:
    class Unlimited:
        def admit(self, _key: str, _burst: int) -> int:
            return 0

    class Quiet:
        def log(self, *_: object, **__: object) -> None:
            pass

    journal = Journal(lambda: 5.0)
    events = EventLog(Quiet(), Unlimited(), journal)  # type: ignore[arg-type]

    events.log("node_started", client="c", http="h")
    events.log_limited("k", "peer_connected", peer="K2")

    assert [each.text for each in journal.latest(9)] == ["connected to K2", "started"]


def test_an_entry_has_the_highest_term_so_far() -> None:
    """Also where the event that named it is not notable, or is older."""
    journal = Journal(lambda: 5.0)
    journal.note("node_started", {})
    journal.note("role_changed", {"group": 0, "role": "follower", "term": 7, "leader": "K1"})
    journal.note("peer_connected", {"peer": "K2"})
    journal.note("role_changed", {"group": 0, "role": "leader", "term": 6, "leader": "K1"})
    assert [each.term for each in journal.latest(9)] == [7, 7, 0]
