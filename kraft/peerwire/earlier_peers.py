"""The processes of an earlier release that have proved the secret to this one."""

from kraft.peerwire.hello import Hello
from kraft.raft.membership.configuration import MEMBERS_MAX


class EarlierPeers:
    """Remembers them by their incarnation and session, of which a stranger can guess neither."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str, int], None] = {}  # an ordered set, the oldest first

    def knows(self, hello: Hello) -> bool:
        """Whether the process that greets so has proved the secret before."""
        return _process(hello) in self._known

    def proved(self, hello: Hello) -> None:
        """The process that greeted so has proved the secret."""
        self._known[_process(hello)] = None
        while len(self._known) > MEMBERS_MAX:
            del self._known[next(iter(self._known))]


def _process(hello: Hello) -> tuple[str, str, int]:
    return hello.id, hello.incarnation, hello.session
