"""The members of a group as a value, which configuration entries carry.

A member is the pair (id, incarnation), and is never reused: the same id with an empty directory is another
member.

A change names a *target* configuration. If the voters stay the same, it takes effect at once. Otherwise the
group passes through a joint configuration (RD 4.3), whatever the number of voters that change, so that there
is one way for all changes. As long as `target` is set, every decision needs a majority of the voters of this
configuration and one of the voters of the target.
"""

from collections.abc import Collection, Sequence
from itertools import pairwise

import msgspec

from kraft.raft.membership.replica_number import ReplicaNumber, any_replica, node_of, number_of

MEMBERS_MAX = 64  # of one configuration: each is dialled, and each decision walks over all of them
RETIRED_MAX = 4096  # decades of replaced nodes; keeps a configuration entry below half a megabyte
TEXT_MAX = 255  # characters of an id, an incarnation, a host:port


class Member(msgspec.Struct, frozen=True, array_like=True, order=True):
    """One member. `peer` is the advertised `host:port` of its peer port.

    `incarnation` is that of its node, 32 hex digits, and may have the number of its replica after it
    (`replica_number`).
    """

    id: str
    incarnation: str
    peer: str

    @property
    def node(self) -> str:
        """The incarnation of its node."""
        return node_of(self.incarnation)

    @property
    def number(self) -> ReplicaNumber:
        """The number of its replica, `UNNUMBERED` without one."""
        return number_of(self.incarnation)


class Joining(msgspec.Struct, frozen=True, array_like=True, order=True):
    """A learner to be promoted once it has caught up, in the place of the member `replaces` if not empty."""

    id: str
    replaces: str = ""


class Configuration(msgspec.Struct, frozen=True, array_like=True):
    """The members of a group, in force from the moment the entry is appended (RD 4.1).

    `voters` and `learners` are sorted ids of `members`, disjoint and together all of them. `joining` are the
    learners to be promoted. `retired` are the incarnations of former nodes, none of which may return. Of a
    node that stays, `any_replica` is there when one of its replicas has left: it may return with a number.
    So a node has two places in it at most, however often its replicas move.
    `target` is set in a joint configuration, and has no target itself.
    """

    members: tuple[Member, ...]
    voters: tuple[str, ...]
    learners: tuple[str, ...] = ()
    joining: tuple[Joining, ...] = ()
    retired: tuple[str, ...] = ()
    target: "Configuration | None" = None

    @classmethod
    def of_voters(cls, members: tuple[Member, ...]) -> "Configuration":
        """The configuration in which every one of `members` votes, in canonical order."""
        ordered = tuple(sorted(members))
        return cls(ordered, tuple(m.id for m in ordered))

    def encode(self) -> bytes:
        """The bytes of a configuration entry; equal configurations encode equally."""
        return _encode(self)

    @property
    def joint(self) -> bool:
        """Whether decisions need two majorities."""
        return self.target is not None

    @property
    def electors(self) -> tuple[str, ...]:
        """The ids with a vote in this configuration, in its target, or in both, sorted."""
        if self.target is None:
            return self.voters
        return tuple(sorted({*self.voters, *self.target.voters}))

    @property
    def everyone(self) -> tuple[Member, ...]:
        """All members of this configuration, and those of its target with a new id, sorted.

        An id that the target gives to another incarnation means the old member until the target is in force.
        """
        if self.target is None:
            return self.members
        known = {m.id for m in self.members}
        return tuple(sorted((*self.members, *(m for m in self.target.members if m.id not in known))))

    def member(self, id_: str) -> Member | None:
        """The member with this id among `everyone`, or None."""
        for member in self.everyone:
            if member.id == id_:
                return member
        return None

    def fault(self) -> str | None:
        """What is wrong with this value, or None; a configuration with a fault may not enter a log."""
        fault = self._own_fault()
        if fault is not None or self.target is None:
            return fault
        if self.target.target is not None:
            return "the target has a target"
        fault = self.target._own_fault()  # noqa: SLF001 - of the same class
        if fault is not None:
            return f"target: {fault}"
        if not set(self.retired) <= set(self.target.retired):
            return "the target forgets a retired incarnation"
        return None

    def _own_fault(self) -> str | None:
        fault = members_fault(self.members)
        if fault is not None:
            return fault
        if not self.voters:
            return "nobody votes"
        if not (_ascending(self.voters) and _ascending(self.learners)):
            return "voters or learners are not in order"
        if sorted((*self.voters, *self.learners)) != [m.id for m in self.members]:
            return "not every member is either a voter or a learner"
        if not _ascending([j.id for j in self.joining]):
            return "joining members are not in order"
        if any(j.id not in self.learners or j.replaces == j.id for j in self.joining):
            return "a member is joining that is no learner, or in place of itself"
        if any(len(j.replaces) > TEXT_MAX for j in self.joining):
            return "a name is too long"
        return self._retired_fault()

    def _retired_fault(self) -> str | None:
        if len(self.retired) > RETIRED_MAX:
            return f"more than {RETIRED_MAX} retired incarnations"
        if any(not 0 < len(incarnation) <= TEXT_MAX for incarnation in self.retired):
            return "a retired incarnation is empty or too long"
        if len(set(self.retired)) != len(self.retired):
            return "an incarnation is retired twice"
        retired = frozenset(self.retired)
        if any(_is_among(retired, member) for member in self.members):
            return "a member has a retired incarnation"
        return None

    def is_retired(self, member: Member) -> bool:
        """Whether `member` may not be one again."""
        return _is_among(self.retired, member)

    def numbers_fault(self, index: int, term: int) -> str | None:
        """What is wrong with the numbers of replicas, None if none is of an entry after (`index`, `term`)."""
        for member in (*self.members, *(self.target.members if self.target is not None else ())):
            try:
                number = member.number
            except ValueError as error:
                return str(error)
            if number.term > term or number.index > index:
                return f"the replica of {member.id} has the number of a later entry"
        return None


NOBODY = Configuration((), ())


class Base(msgspec.Struct, frozen=True, array_like=True):
    """A place in the log: the last entry that is gone, or the last one in a copy of the state machine.

    `term` and `stamp` are those of the entry at `index`. `configuration` is the committed one in force there,
    carried by the entry at `configuration_index`. A log that begins with entry 1 has the base `START`.
    """

    index: int = 0
    term: int = 0
    stamp: int = 0
    configuration_index: int = 0
    configuration: Configuration = NOBODY


START = Base()


def members_fault(members: Sequence[Member]) -> str | None:
    """What is wrong with a list of members, or None: their order, their number, or a text."""
    if len(members) > MEMBERS_MAX:
        return f"more than {MEMBERS_MAX} members"
    if not _ascending([m.id for m in members]):
        return "members are not in the order of their ids"
    for member in members:
        if not member.id or not member.incarnation:
            return "a member without id or incarnation"
        for text in (member.id, member.incarnation, member.peer):
            if len(text) > TEXT_MAX or not text.isprintable():
                return "a text of a member is too long or holds control characters"
    return None


def _is_among(retired: Collection[str], member: Member) -> bool:
    unnumbered = member.incarnation == member.node
    return member.node in retired or (unnumbered and any_replica(member.node) in retired)


def _ascending(names: Sequence[str]) -> bool:
    return all(first < second for first, second in pairwise(names))


def decode(data: bytes) -> Configuration:
    """Inverse of `Configuration.encode`. Raises `msgspec.DecodeError` on anything else."""
    return _decoder.decode(data)


_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(Configuration)
