"""Who belongs to a group: a value, carried by configuration entries, and the pure algebra of its changes.

A member is the pair (id, incarnation), never reused: the same id with an empty directory is another member.

A change names a *target* configuration. Where the voters stay the same it takes effect at once; otherwise the
group passes through a joint configuration (RD 4.3), whatever the number of voters that change, so that there
is one way for all changes: as long as `target` is set, every decision needs a majority of the voters of this
configuration and one of the target's.
"""

import msgspec


class Member(msgspec.Struct, frozen=True, array_like=True, order=True):
    """One member. `incarnation` is 32 hex digits; `peer` is the advertised `host:port` of its peer port."""

    id: str
    incarnation: str
    peer: str


class Joining(msgspec.Struct, frozen=True, array_like=True, order=True):
    """A learner that becomes a voter by itself once it has caught up, in place of `replaces` if not empty."""

    id: str
    replaces: str = ""


class Configuration(msgspec.Struct, frozen=True, array_like=True):
    """The members of a group, in force from the moment the entry is appended (RD 4.1).

    `voters` and `learners` are sorted ids of `members`, disjoint and together all of them. `joining` says
    which learners are to be promoted. `retired` are the incarnations of former members, none of which may
    return. `target` is set in a joint configuration, and has no target itself.
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
        """Everybody with a vote, in one or both of the configurations, sorted."""
        if self.target is None:
            return self.voters
        return tuple(sorted({*self.voters, *self.target.voters}))

    @property
    def everyone(self) -> tuple[Member, ...]:
        """All members of this configuration, and those of its target whose id is new, sorted.

        An id that the target gives to another incarnation stays the old member until the target is in force.
        """
        if self.target is None:
            return self.members
        known = {m.id for m in self.members}
        return tuple(sorted((*self.members, *(m for m in self.target.members if m.id not in known))))

    def member(self, id_: str) -> Member | None:
        """The member with this id, as in `everyone`."""
        return next((m for m in self.everyone if m.id == id_), None)


NOBODY = Configuration((), ())


class Base(msgspec.Struct, frozen=True, array_like=True):
    """The last index that is not in a log any more, or that a copy of the state machine stands at.

    `configuration` is the committed one in force at `index`, carried by the entry at `configuration_index`;
    `stamp` is that of the entry at `index`. The base of a log that begins at its first entry is `START`.
    """

    index: int = 0
    term: int = 0
    stamp: int = 0
    configuration_index: int = 0
    configuration: Configuration = NOBODY


START = Base()


def decode(data: bytes) -> Configuration:
    """Inverse of `Configuration.encode`. Raises `msgspec.DecodeError` on anything else."""
    return _decoder.decode(data)


_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(Configuration)
