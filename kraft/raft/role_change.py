"""What a role asks for when it has to be replaced."""

from collections.abc import Mapping

import msgspec


class RoleChange(msgspec.Struct, frozen=True):
    """The role to take: FOLLOWER (of nobody yet), PRECANDIDATE, CANDIDATE or LEADER.

    `transfer`: a candidate campaigns on the leader's request (RD 3.10). `vote_clocks` are the wall clocks, in
    Unix ms, that came with the votes for a leader, its own included.
    """

    role: str
    transfer: bool = False
    vote_clocks: Mapping[str, int] = {}
