"""A plain twin of the storage of one group, lawful writes to it, and what must be read back."""

from hypothesis import strategies as st

from kraft.kv.checkpoint import Checkpoint
from kraft.raft.membership.configuration import START, Base, Configuration, Member
from kraft.raft.messages import Entry, EntryKind, HardState
from kraft.raft.ready import Persist
from tests.storage.states import State

CONFIGURATION = Configuration.of_voters((Member("K1", "ab", "h:1"),))


class Twin:
    """One group: a dictionary of entries, a base, a commit index, a term and a vote; and its state, with what
    the last checkpoint holds.
    """

    def __init__(self):
        self.log: dict[int, Entry] = {}
        self.base = START
        self.recorded = 0
        self.hard_state = HardState()
        self.state = State()
        self.checkpoint: Checkpoint | None = None
        self.records: dict = {}

    @property
    def last(self):
        return max(self.log, default=self.base.index)

    def at(self, index):
        """The base at an entry of the log, or that of the log."""
        if index == self.base.index:
            return self.base
        entry = self.log[index]
        return Base(index, entry.term, entry.stamp, 0, CONFIGURATION)


step = st.fixed_dictionaries(
    {
        "group": st.sampled_from([0, 1, 5]),
        "new_term": st.booleans(),
        "vote": st.sampled_from([None, "", "K2"]),
        "cut": st.none() | st.integers(0, 6),
        "entries": st.lists(st.binary(max_size=300), max_size=5),
        "configuration": st.booleans(),
        "commit": st.integers(0, 8),
        "base": st.none() | st.integers(0, 12),
        "snapshot": st.none() | st.none() | st.integers(1, 10),
        "keys": st.lists(st.tuples(st.integers(0, 20), st.none() | st.binary(max_size=200)), max_size=6),
        "flush": st.sampled_from([False, False, False, True]),
        "version": st.sampled_from([1, 1, 1, 2]),
        "then": st.sampled_from(["go on", "together", "checkpoint", "state", "state", "close", "kill"]),
    }
)


def persist(twin, plan, *, compact=False, state=None):
    """Draw a lawful write from the plan and do it on the twin: nothing known to be committed is ever cut.

    `compact` lets it move the log's beginning, up to the checkpoint; with `state` it installs a snapshot at
    an index of the plan, in the state file of that number.
    """
    term = max(twin.hard_state.term, 1) + plan["new_term"]
    kept = twin.hard_state.vote if term == twin.hard_state.term else ""
    twin.hard_state = HardState(term, kept or plan["vote"] or "")  # a vote once given in a term stays
    cut = None
    cuts = plan["cut"] is not None and state is None  # a snapshot was taken of the log as it is
    if cuts and twin.last - plan["cut"] > max(twin.recorded, twin.base.index):
        cut = twin.last - plan["cut"]
        twin.log = {index: entry for index, entry in twin.log.items() if index < cut}
    base = None
    if state is not None:
        base = snapshot_base(twin, plan, term)
        if base.index not in twin.log or twin.log[base.index].term != base.term:
            cut = twin.base.index + 1
            twin.log = {}
        twin.recorded = max(twin.recorded, base.index)
    elif compact and plan["base"] is not None and twin.checkpoint is not None:
        base = twin.at(max(twin.base.index, min(twin.base.index + plan["base"], twin.checkpoint.base.index)))
    if base is not None:
        twin.log = {index: entry for index, entry in twin.log.items() if index > base.index}
        twin.base = base
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
    return Persist(0, twin.hard_state, cut, tuple(added), commit, base, state)


def snapshot_base(twin, plan, term):
    """The base of the plan's snapshot: above everything that is known to be committed."""
    index = max(twin.recorded, twin.base.index) + plan["snapshot"]
    known = twin.log.get(index)
    return Base(index, known.term if known and not plan["new_term"] else term, 10 * index, 0, CONFIGURATION)


def change_keys(twin, plan):
    """What applying entries would do to the state machine."""
    twin.state.machine_version = max(twin.state.machine_version, plan["version"])
    if plan.get("flush"):
        twin.state.clear()
    for number, value in plan["keys"]:
        if value is None:
            twin.state.remove(b"%d" % number)
        else:
            twin.state.put(b"%d" % number, value, len(value))


def check(loaded, twins):
    for group, twin in twins.items():
        restored = loaded.groups[group]
        assert restored.hard_state == twin.hard_state
        assert restored.base == twin.base
        assert (restored.first_index, restored.last_index) == (twin.base.index + 1, twin.last)
        at = twin.checkpoint.base.index if twin.checkpoint is not None else 0
        assert at <= restored.commit <= max(twin.recorded, at) or group not in loaded.checkpoints
        assert twin.base.index <= restored.commit <= max(twin.recorded, at, twin.base.index)
        assert [entry.index for entry in restored.tail] == list(
            range(twin.last - len(restored.tail) + 1, twin.last + 1)
        )
        assert all(twin.log[entry.index] == entry for entry in restored.tail)
        assert restored.commit >= twin.last or restored.tail[0].index <= restored.commit + 1
        assert restored.last_stamp == 10 * twin.last
        starts = dict(restored.terms)
        term = 0
        for index in range(twin.base.index + 1, twin.last + 1):
            term = starts.get(index, term)
            assert term == twin.log[index].term
        assert restored.configurations == tuple(
            (index, CONFIGURATION)
            for index, entry in twin.log.items()
            if entry.kind == EntryKind.CONFIGURATION
        )


def check_state(loaded, twins):
    """The state files hold the last checkpoint, and the keyspaces are what the files hold."""
    for group, twin in twins.items():
        checkpoint, keyspace = loaded.checkpoints.get(group, (None, None))
        assert checkpoint == twin.checkpoint
        assert keyspace is None or keyspace.records == twin.records
