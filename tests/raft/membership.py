"""Changes of the members, for tests that make them."""

import msgspec

from kraft.raft.membership.configuration import Configuration, Member
from kraft.raft.messages import (
    Entry,
    EntryKind,
)


def to_voters(cluster, *voters, learners=()):
    """The configuration of these, as `cluster` knows them."""
    members = sorted(Member(n, cluster[n].incarnation, f"{n}:1") for n in voters + learners)
    return Configuration(tuple(members), tuple(sorted(voters)), tuple(sorted(learners)))


def retiring(target, *incarnations):
    return msgspec.structs.replace(target, retired=tuple(sorted(incarnations)))


def change(cluster, target):
    """Go to `target` by the leader, to the end."""
    (leader,) = cluster.leaders()
    cluster[leader].reconfigure(target)
    cluster.tick(4)


def entry_of(config, index, term):
    return Entry(index, term, 0, EntryKind.CONFIGURATION, config.encode())
