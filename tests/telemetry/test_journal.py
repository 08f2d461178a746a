"""Events as sentences."""

import pytest

from kraft.host.snapshots.settings import ABANDONED, DONE, FAILED
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
         "learned the voters of group 1: K1, K2"),
        ("configuration_changed", {"group": 0, "voters": ("K1",), "learners": ("K4",), "joint": True},
         "learned the voters of the cluster: K1; the learners: K4; the change of the voters is not finished"),
        ("configuration_changed", {"group": 1, "voters": ("K1",), "learners": ("K4",), "joint": True}, ""),
        ("replica_left", {"group": 1}, "left group 1"),
        ("admin_command", {"command": "add"}, "received KRAFT ADD"),
        ("admin_command", {"command": "add", "peer": "K2"}, "received KRAFT ADD, forwarded by K2"),
        ("replica_differs", {"group": 0, "replica": "K3", "index": 9, "decided": False},
         "found that the data of K3 differs; no majority agrees on the right data"),
        ("snapshot_send_started", {"group": 0, "peer": "K4", "index": 9, "bytes": 1},
         "started to send a snapshot to K4"),
        ("snapshot_send_started", {"group": 3, "peer": "K4", "index": 9, "bytes": 1},
         "started to send a snapshot of group 3 to K4"),
        ("configuration_changed", {"group": 0, "voters": ("K1",), "learners": (), "joint": False},
         "learned the voters of the cluster: K1"),
        ("node_slow", {"cause": "event_loop"},
         "became too slow to lead: its process is held up again and again"),
        ("node_slow", {"cause": "disk", "write_seconds": 3}, "became too slow to lead: its disk is slow"),
        ("node_recovered", {"cause": "event_loop"}, "is fast enough to lead again"),
        ("storage_failed", {"operation": "commit"}, "had a disk error while it wrote the log"),
        ("snapshot_receive_ended", {"group": 0, "peer": "K1", "outcome": "done"},
         "received a snapshot from K1"),
        ("snapshot_send_ended", {"group": 2, "peer": "K1", "outcome": "abandoned"},
         "sent a snapshot of group 2 to K1 in part: it is not needed any more"),
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


@pytest.mark.parametrize(
    ("event", "field", "values"),
    [
        ("node_slow", "cause", ["disk", "event_loop"]),
        ("storage_failed", "operation", ["commit", "checkpoint", "highwater", "state", "snapshot"]),
        ("snapshot_send_ended", "outcome", [DONE, ABANDONED, FAILED]),
        ("snapshot_receive_ended", "outcome", [DONE, ABANDONED]),
    ],
)
def test_no_word_of_the_code_is_on_the_page(event: str, field: str, values: list[str]) -> None:
    """Fields of the log have names for programs; a sentence says what they mean."""
    told = [sentence(event, {"group": 0, "peer": "K2", field: value}) for value in values]
    assert len(set(told)) == len(values)
    for value, words in zip(values, told, strict=True):
        assert "_" not in words
        assert not words.endswith((f": {value}", f"in {value}"))


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


@pytest.mark.parametrize(("ahead", "words"), [(1.4, "1.4 s ahead of"), (-1.4, "1.4 s behind")])
def test_a_clock_that_is_late_is_not_called_ahead(ahead: float, words: str) -> None:
    told = sentence("clock_off", {"peer": "K2", "ahead_seconds": ahead})
    assert told == f"found the clock of K2 {words} the median of the voters' clocks"
    told = sentence("log_time_off", {"group": 1, "ahead_seconds": ahead})
    assert told == f"found log time {words} the voters' clocks in group 1"


def test_the_first_group_is_named_once_there_is_another() -> None:
    """As long as there is one, its number says nothing."""
    journal = Journal(lambda: 5.0)
    for group in (0, 1, 0):
        journal.note("role_changed", {"role": "leader", "group": group, "term": 2})
    assert [entry.text for entry in journal.latest(3)] == [
        "became leader of group 0 in term 2",
        "became leader of group 1 in term 2",
        "became leader in term 2",
    ]
    journal.note("configuration_changed", {"group": 0, "voters": ["K1"], "learners": [], "joint": False})
    assert journal.latest(1)[0].text == "learned the voters of group 0: K1"


def test_a_cluster_that_is_formed_with_several_groups_names_the_first_at_once() -> None:
    journal = Journal(lambda: 5.0)
    journal.note("cluster_formed", {"cluster": "cafe", "members": 3, "groups": 3})
    journal.note("configuration_changed", {"group": 0, "voters": ["K1"], "learners": [], "joint": False})
    assert journal.latest(1)[0].text == "learned the voters of group 0: K1"


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
