"""The change of users, which are part of the replicated state: ACL SETUSER and its kin.

The node that takes the client's command computes what becomes of each user, and the state has it if no other
change came between. So no replica parses a rule, and a log means the same to a version that reads rules
otherwise.
"""

from typing import ClassVar

import msgspec


class ChangeUsers(msgspec.Struct, frozen=True, array_like=True, tag=90, gc=False):
    """Stores `put`, pairs of a name and an encoded `kraft.acl.user.User`, and removes the users `removed`.

    `seen` is the revision of the last change of users that the sender knows, 0 before the first one. Replies
    1, or 0 without effect if there was another change after that.
    """

    since: ClassVar[int] = 4
    seen: int
    put: tuple[tuple[bytes, bytes], ...] = ()
    removed: tuple[bytes, ...] = ()


UserCommand = ChangeUsers
"""The commands on users."""
