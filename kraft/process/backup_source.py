"""A node as the thread of its backups sees it: what is asked is done on the reactor's thread."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any

from kraft.backup.errors import BackupError, Stopped
from kraft.backup.manifest import Manifest
from kraft.backup.ports import ImageSource, LogReach
from kraft.host.backup.pinned_images import PinnedImage, ReadDone
from kraft.host.backup.remote_logs import LogDone
from kraft.host.group.group import Group
from kraft.host.host import Host
from kraft.host.ports import Disk
from kraft.node.errors import AdminRefused
from kraft.node.values import Rows
from kraft.raft.messages import Entry

ANSWER_SECONDS = 0.5  # between two looks whether the node stops, while an answer is awaited
FETCH_BYTES = 256 << 10
PIECE_BYTES = 64 << 10
FENCED = "the data of the replica here differs from the others'"

CallInReactor = Callable[..., object]


class HostSource:
    """`backup.ports.NodeSource` of a host and its disk. `stopping` is set when the node stops."""

    def __init__(self, host: Host, disk: Disk, call_in_reactor: CallInReactor) -> None:
        self.stopping = False
        self._host = host
        self._disk = disk
        self._call_in_reactor = call_in_reactor

    def ask(self, question: Callable[[Callable[[Any], None]], object]) -> Any:
        """Run `question(answer)` on the reactor's thread, and wait until it has called `answer`."""
        answers: SimpleQueue[Any] = SimpleQueue()
        self._call_in_reactor(question, answers.put)
        while True:
            try:
                return answers.get(timeout=ANSWER_SECONDS)
            except Empty:
                if self.stopping:
                    raise Stopped("the node stops") from None

    def cluster(self) -> str:
        """The id of the cluster."""
        found: str = self.ask(lambda answer: answer(self._host.peers.formation.identity.cluster))
        return found

    def logs(self, shipped: Mapping[int, int]) -> Mapping[int, LogReach | str]:
        """The log of every group, or why it cannot be had."""
        found: dict[int, LogReach | str] = self.ask(partial(self._find, shipped))
        return found

    def _find(self, shipped: Mapping[int, int], answer: Callable[[dict[int, LogReach | str]], None]) -> None:
        """Tell how far the logs reach, those of groups elsewhere as far as their leaders answer.

        Leaders are asked too where the replica here is new, or gets a snapshot: that may take long.
        """
        host = self._host
        missing = [id_ for id_ in range(host.slots.groups) if id_ not in host.groups]
        if not all(map(host.elsewhere.has, missing)):
            answer({})  # this node has no data yet
            return
        here: dict[int, LogReach | str] = {id_: _reach(group) for id_, group in host.groups.items()}
        late = [id_ for id_, group in host.groups.items() if _is_late(group, shipped.get(id_, 0))]
        host.logs.find([*missing, *late], lambda found: answer(found | here | _told(found)))

    def fetch(self, group: int, first: int, last: int) -> Sequence[Entry]:
        """Entries of the log; those that this node lacks are asked of the leader."""
        found: Sequence[Entry] | AdminRefused = self.ask(partial(self._fetch, group, first, last))
        if isinstance(found, AdminRefused):
            raise BackupError(str(found))
        return found

    def _fetch(self, group: int, first: int, last: int, answer: LogDone) -> None:
        remote = partial(self._host.logs.read, group, first, last)
        here = self._host.groups.get(group)
        if here is None or here.state.index < last:  # what is not applied may never be committed
            remote(answer)
            return

        def have_read(entries: Sequence[Entry]) -> None:
            if entries:
                answer(entries)
            else:  # the log was cut, or the replica has gone or come: it may have fewer entries than others
                remote(lambda found: answer(() if isinstance(found, AdminRefused) else found))

        self._disk.fetch(group, first, last, FETCH_BYTES, have_read)

    def open_image(self) -> ImageSource:
        """The state of all groups."""
        image: PinnedImage | Exception = self.ask(self._host.open_image)
        if isinstance(image, Exception):
            raise BackupError(str(image) or f"no checkpoint: {type(image).__name__}")
        return _Image(self, self._host, self._call_in_reactor, image)


def _reach(group: Group) -> LogReach | str:
    """How far the log of a replica here reaches, or why it does not count."""
    if group.state.fenced:
        return FENCED
    state = group.raft.state
    return LogReach(state.log.base.index + 1, group.state.index, bool(state.leader))


def _is_late(group: Group, shipped: int) -> bool:
    """Whether the replica here differs, or lacks entries that were shipped, or gets a snapshot."""
    return group.state.fenced or group.receiver.active or group.state.index < shipped


def _told(found: Mapping[int, LogReach | str]) -> dict[int, LogReach | str]:
    """What leaders have answered."""
    return {id_: reach for id_, reach in found.items() if isinstance(reach, LogReach)}


class _Image:
    """`backup.ports.ImageSource`."""

    def __init__(
        self, node: HostSource, host: Host, call_in_reactor: CallInReactor, image: PinnedImage
    ) -> None:
        self.head: Manifest = image.head
        self._node = node
        self._host = host
        self._call_in_reactor = call_in_reactor
        self._image = image

    def read(self, group: int, after: bytes | None) -> Rows:
        """A piece of the rows of a group."""
        outcome: Rows | AdminRefused = self._node.ask(partial(self._read, group, after))
        if isinstance(outcome, AdminRefused):
            raise BackupError(str(outcome))
        return outcome

    def _read(self, group: int, after: bytes | None, answer: ReadDone) -> None:
        self._host.images.find(self._image.token)  # it is in use
        self._image.read(group, after, PIECE_BYTES, answer)

    def close(self) -> None:
        """Close it."""
        self._call_in_reactor(self._host.images.close, self._image.token)
