"""More groups, in group 0: the cluster had so many when it was formed, and each later one is a row there."""

from typing import ClassVar

import msgspec


class AddGroups(msgspec.Struct, frozen=True, array_like=True, tag=120, gc=False):
    """Creates the groups from `first` up to `first + count - 1`, which own no slots.

    `configuration` is the encoded one with which each of them begins: that of group 0. Replies [1, the number
    of groups]; [0, the number of groups] if `first` is not the next one, or no group can begin with the
    configuration, and then nothing is done.
    """

    since: ClassVar[int] = 6
    first: int
    count: int
    configuration: bytes
