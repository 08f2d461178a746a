"""The log against a dictionary: any lawful sequence of writes reads back the same, after any restart."""

import tempfile

from hypothesis import given, settings
from hypothesis import strategies as st

from kraft.host.ports import Transaction
from kraft.raft.membership import Configuration, Member
from kraft.raft.messages import Entry, EntryKind, HardState
from kraft.raft.ready import Persist
from kraft.storage.directory import RealDirectory
from kraft.storage.logdatabase import LogDatabase
from kraft.storage.ports import Settings

CONFIGURATION = Configuration.of_voters((Member("K1", "ab", "h:1"),))
TAIL_BYTES = 1000


class Twin:
    """One group: a dictionary of entries, a commit index, a term and a vote."""

    def __init__(self):
        self.log: dict[int, Entry] = {}
        self.recorded = 0
        self.hard_state = HardState()

    @property
    def last(self):
        return max(self.log, default=0)


step = st.fixed_dictionaries(
    {
        "group": st.sampled_from([0, 1, 5]),
        "new_term": st.booleans(),
        "vote": st.sampled_from([None, "", "K2"]),
        "cut": st.none() | st.integers(0, 6),
        "entries": st.lists(st.binary(max_size=300), max_size=5),
        "configuration": st.booleans(),
        "commit": st.integers(0, 8),
        "then": st.sampled_from(["go on", "together", "checkpoint", "close", "kill"]),
    }
)


def persist(twin, plan):
    """Draw a lawful write from the plan and do it on the twin: nothing known as committed is ever cut."""
    term = max(twin.hard_state.term, 1) + plan["new_term"]
    if plan["vote"] is not None or term != twin.hard_state.term:
        twin.hard_state = HardState(term, plan["vote"] or "")
    cut = None
    if plan["cut"] is not None and twin.last - plan["cut"] > twin.recorded:
        cut = twin.last - plan["cut"]
        twin.log = {index: entry for index, entry in twin.log.items() if index < cut}
    added = []
    for data in plan["entries"]:
        kind = EntryKind.CONFIGURATION if plan["configuration"] else EntryKind.COMMANDS
        payload = CONFIGURATION.encode() if plan["configuration"] else data
        entry = Entry(twin.last + 1, term, 10 * (twin.last + 1), kind, payload)
        twin.log[entry.index] = entry
        added.append(entry)
    commit = min(twin.recorded + plan["commit"], twin.last)
    if added:
        twin.recorded = commit
    return Persist(0, twin.hard_state, cut, tuple(added), commit)


def check(loaded, twins):
    for group, twin in twins.items():
        restored = loaded.groups[group]
        assert restored.hard_state == twin.hard_state
        assert (restored.first_index, restored.last_index) == (1, twin.last)
        assert restored.commit <= twin.recorded
        assert [entry.index for entry in restored.tail] == list(
            range(twin.last - len(restored.tail) + 1, twin.last + 1)
        )
        assert all(twin.log[entry.index] == entry for entry in restored.tail)
        assert restored.commit >= twin.last or restored.tail[0].index <= restored.commit + 1
        assert restored.last_stamp == 10 * twin.last
        starts = dict(restored.terms)
        term = 0
        for index in range(1, twin.last + 1):
            term = starts.get(index, term)
            assert term == twin.log[index].term
        assert restored.configurations == tuple(
            (index, CONFIGURATION)
            for index, entry in twin.log.items()
            if entry.kind == EntryKind.CONFIGURATION
        )


def opened(path):
    return LogDatabase(
        RealDirectory(path),
        node_id="K1",
        incarnation=lambda: "ab" * 16,
        settings=Settings(tail_bytes=TAIL_BYTES),
    )


@settings(max_examples=40, deadline=None)
@given(plans=st.lists(step, max_size=20))
def test_any_sequence_of_writes_and_restarts_equals_the_twin(plans):
    with tempfile.TemporaryDirectory() as path:
        database = opened(path)
        twins: dict[int, Twin] = {}
        waiting: list[Transaction] = []
        for plan in plans:
            twin = twins.setdefault(plan["group"], Twin())
            waiting.append(Transaction(((plan["group"], persist(twin, plan)),)))
            if plan["then"] == "together":
                continue
            assert database.commit(waiting)
            waiting = []
            if plan["then"] == "checkpoint":
                assert database.checkpoint()
            if plan["then"] in ("close", "kill"):
                (database.close if plan["then"] == "close" else database.abandon)()
                database = opened(path)
                check(database.loaded, twins)
        assert database.commit(waiting)
        for group, twin in twins.items():
            assert database.fetch(group, 1, twin.last, 1 << 30) == tuple(twin.log.values())
        database.close()
        database = opened(path)
        check(database.loaded, twins)
        database.abandon()


def test_the_tail_in_memory_is_bounded_by_what_is_committed():
    """A long committed log leaves only its end; what is not known to be committed is all kept."""
    with tempfile.TemporaryDirectory() as path:
        database = opened(path)
        for index in range(1, 101):
            entry = Entry(index, 1, index, EntryKind.COMMANDS, b"x" * 100)
            database.commit([Transaction(((0, Persist(0, None, None, (entry,), min(index, 60))),))])
        database.close()
        database = opened(path)
        restored = database.loaded.groups[0]
        database.abandon()

    assert restored.commit == 60
    assert restored.tail[0].index == 61
    assert restored.tail[-1].index == 100
