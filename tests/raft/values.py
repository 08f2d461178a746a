"""Settings, configurations and logs that the tests of consensus start from."""

from dataclasses import replace

from kraft.raft.membership.configuration import Configuration, Member
from kraft.raft.messages import Entry, EntryKind, HardState
from kraft.raft.ports import RaftSettings, Restored

SETTINGS = RaftSettings(election_ticks=10, heartbeat_ticks=2)


def configuration(*voters: str, learners: tuple[str, ...] = ()) -> Configuration:
    """These members; the incarnation of `K1` is `k1` sixteen times."""
    members = tuple(sorted(Member(v, v.lower() * 16, f"{v}:1") for v in voters + learners))
    return Configuration(members, tuple(sorted(voters)), tuple(sorted(learners)))


def bootstrap(config: Configuration) -> Restored:
    """The state of a new group: its first entry carries `config`, and is committed."""
    entry = Entry(1, 1, 0, EntryKind.CONFIGURATION, config.encode())
    return Restored(HardState(1), 1, 1, ((1, 1),), (entry,), ((1, config),), 0)


TRIO = configuration("K1", "K2", "K3")
BASE = bootstrap(TRIO)
EMPTY = Restored(HardState(), 0, 0, (), (), (), 0)


def past(term: int, *terms: int, commit: int = 1, vote: str = "", base: Restored = BASE) -> Restored:
    """The state of a node in `term`: `base`, which is one entry, and after it an entry of each of `terms`."""
    tail = [*base.tail, *commands(2, *terms)]
    runs: list[tuple[int, int]] = []
    for e in tail:
        if not runs or runs[-1][1] != e.term:
            runs.append((e.index, e.term))
    return replace(
        base,
        hard_state=HardState(term, vote),
        last_index=len(tail),
        commit=commit,
        terms=tuple(runs),
        tail=tuple(tail),
    )


def commands(first: int, *terms: int) -> tuple[Entry, ...]:
    """Entries from index `first`, one for each of `terms`, equal to those of `past`."""
    return tuple(Entry(first + i, t, 0, EntryKind.COMMANDS, b"%d" % t) for i, t in enumerate(terms))
