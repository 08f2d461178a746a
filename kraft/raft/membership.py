"""Who belongs to a group: a value, carried by configuration entries.

A member is the pair (id, incarnation), never reused: the same id with an empty directory is another member.
"""

import msgspec


class Member(msgspec.Struct, frozen=True, array_like=True, order=True):
    """One member. `incarnation` is 32 hex digits; `peer` is the advertised `host:port` of its peer port."""

    id: str
    incarnation: str
    peer: str


class Configuration(msgspec.Struct, frozen=True, array_like=True):
    """The members of a group in force from the moment the entry is appended (RD 4.1).

    `voters` and `learners` are sorted ids of `members`, disjoint.
    """

    members: tuple[Member, ...]
    voters: tuple[str, ...]
    learners: tuple[str, ...] = ()

    @classmethod
    def of_voters(cls, members: tuple[Member, ...]) -> "Configuration":
        """The configuration in which every one of `members` votes, in canonical order."""
        ordered = tuple(sorted(members))
        return cls(ordered, tuple(m.id for m in ordered))

    def encode(self) -> bytes:
        """The bytes of a configuration entry; equal configurations encode equally."""
        return _encode(self)


def decode(data: bytes) -> Configuration:
    """Inverse of `Configuration.encode`. Raises `msgspec.DecodeError` on anything else."""
    return _decoder.decode(data)


_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(Configuration)
