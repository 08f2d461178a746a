"""The placement of votes, in group 0: how many nodes vote in each group, and what is to be done about it."""

from typing import ClassVar

import msgspec


class ChangePlacement(msgspec.Struct, frozen=True, array_like=True, tag=130, gc=False):
    """Replaces what `kraft.kv.placement.PlacementState` says, if its version is still `version`.

    Replies [1, the new version]; [0, the version there is] if that is another one, and then nothing is done.
    """

    since: ClassVar[int] = 7
    version: int
    replication: int
    settling: bool = False
    leaving: tuple[str, ...] = ()
