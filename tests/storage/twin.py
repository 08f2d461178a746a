"""A dumb twin of the storage of one group, lawful writes on it, and what must be read back."""

from hypothesis import strategies as st

from kraft.raft.membership import Configuration, Member
from kraft.raft.messages import Entry, EntryKind, HardState
from kraft.raft.ready import Persist

CONFIGURATION = Configuration.of_voters((Member("K1", "ab", "h:1"),))


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
    kept = twin.hard_state.vote if term == twin.hard_state.term else ""
    twin.hard_state = HardState(term, kept or plan["vote"] or "")  # a vote once given in a term stays
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
