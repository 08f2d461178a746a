"""From a backup to the data directory of a new cluster's founder.

The state of the image is written as a received snapshot would be, and compared with the sum in the manifest.
Then the shipped entries up to the moment are applied to it (`replay`), by the state machine that every
replica has. The result is a state file at the last of these entries, in a log that begins after it.

The cluster is a new one: its founders have new incarnations, so its id is new, and those of the old cluster
are retired. So a restored node and one of the old cluster refuse each other, whatever else is still running.

Several founders are restored one by one, each on its own machine, from the same backup to the same moment.
They have to know one another's incarnations in advance. So these are made from a *token*, a random text that
is drawn for one restore and given to all of them. A directory that is restored a second time with the same
token counts as an old copy of the first one.

`log.db` is the last file that is written. Until then the file `restoring` keeps a node from starting there.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from kraft.backup import image as images
from kraft.backup.archive import WHAT_TO_NAME, find_image
from kraft.backup.backup_key import BackupKey
from kraft.backup.errors import BackupError, DamagedBackup
from kraft.backup.image import Report, no_report
from kraft.backup.manifest import MANIFEST_FILE, GroupImage, Manifest
from kraft.backup.shipped_log import LogPosition
from kraft.kv.commands import AddGroups, Command
from kraft.kv.entry import commands_of
from kraft.kv.errors import UnknownCommand
from kraft.kv.machine import Machine
from kraft.kv.versions import MACHINE_VERSION
from kraft.moment import LATEST, OF_THE_IMAGE, Moment
from kraft.node.values import Identity, Received, Transaction
from kraft.raft.membership.configuration import Base, Configuration, Member
from kraft.raft.messages import Entry, EntryKind, HardState
from kraft.raft.ready import Persist
from kraft.storage.access import node_files
from kraft.storage.directory import RESTORING_FILE, RealDirectory, prepare_directory
from kraft.storage.errors import DirectoryUnusable, NoSpace
from kraft.storage.lock import LOCK_FILE, DirectoryLock, holder
from kraft.storage.log.database import LogDatabase
from kraft.storage.log.files import LOG_FILE
from kraft.storage.offline.replay import (
    BackupMoment,
    LogReplay,
    created_image,
    entries_of,
    position_of,
    replay,
)
from kraft.storage.ports import StorageSettings
from kraft.storage.state.folder import StateFolder

ClusterId = Callable[[tuple[Member, ...], int], str]  # `host.formation.cluster_id`: of founders and groups
STATE_NUMBER = 1  # of the state file of each group
FIRST = LogPosition(1, 1, 0)  # with which a group begins, where its log was not shipped
GROWN = "groups were created after it: name a time"
_TOO_OLD = f"this kraft supports up to {MACHINE_VERSION}: install the one that made it"


@dataclass(frozen=True, slots=True)
class GroupTarget:
    """Where a group of the restored cluster stands, and how many entries came from the log.

    `left_out` is how many more the log has up to the moment: a transaction over groups is not whole in them.
    """

    group: int
    index: int
    stamp_ms: int
    revision: int
    keys: int
    entries: int
    sum: str
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class Restoration(BackupMoment):
    """A backup that is to be restored."""

    @property
    def key(self) -> BackupKey | None:
        """The key of the image."""
        return self.archive.key


def open_backup(source: str, moment: Moment | None, key: BackupKey | None) -> Restoration:
    """The image at `source` from which `moment` can be reached. Raises `BackupError`.

    None stands for the moment of an image, if `source` is one, and else for the latest state.
    """
    if Path(source, LOG_FILE).exists():
        raise BackupError(f"{source} is the data directory of a node, and no backup: {WHAT_TO_NAME}")
    if moment is None:
        moment = OF_THE_IMAGE if Path(source, MANIFEST_FILE).exists() else LATEST
    archive, folder, manifest = find_image(Path(source), moment, key)
    if moment.revision is not None and len(manifest.groups) > 1:
        counts = f"each of its {len(manifest.groups)} groups counts revisions for itself"
        made = datetime.fromtimestamp(manifest.created_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        raise BackupError(f"{folder}: {counts}: name a time, such as --at {made}")
    newest = max((group.machine_version for group in manifest.groups), default=1)
    if newest > MACHINE_VERSION:
        made_by = f"it is of machine version {newest}, made by kraft {manifest.version}"
        raise BackupError(f"{folder}: {made_by}: {_TOO_OLD}")
    return Restoration(archive, folder, manifest, moment)


def founders_of(addresses: Sequence[tuple[str, str]], token: str, manifest: Manifest) -> tuple[Member, ...]:
    """The members of the new cluster, with the incarnations that follow from `token` and the image."""
    members = []
    for id_, peer in sorted(addresses):
        text = f"{token} {manifest.cluster} {manifest.name} {id_}"
        members.append(Member(id_, hashlib.sha256(text.encode()).hexdigest()[:32], peer))
    return tuple(members)


def rehearse(backup: Restoration, report: Report = no_report) -> tuple[GroupTarget, ...]:
    """Read everything that a restore would read, verified, and write nothing. Raises `BackupError`.

    Commands are not applied, so revision, keys and sum are those of the image.
    """
    images.verify(backup.folder, backup.key, report)
    first, *others = backup.manifest.groups
    known = len(backup.manifest.groups)
    target, total = _reach(backup, first, known)
    others += [created_image(group) for group in range(known, total)]
    return target, *(_reach(backup, group, total)[0] for group in others)


def _reach(backup: Restoration, image: GroupImage, groups: int) -> tuple[GroupTarget, int]:
    """How far the log of a group goes, and how many of `groups` there are by then if it is that of group 0.

    Raises `BackupError`.
    """
    last, count, revision_max, wanted = position_of(image), 0, image.revision, backup.moment.revision
    for entry in entries_of(backup, image):
        creating = image.group == 0 and entry.kind == EntryKind.COMMANDS
        for command in _commands_of(entry) if creating else ():
            if type(command) is AddGroups and command.first == groups:
                groups += command.count
                if wanted is not None and revision_max < wanted:
                    raise BackupError(f"{backup.folder}: {GROWN}")
            revision_max += 1
        if wanted is not None and groups > len(backup.manifest.groups):
            groups = len(backup.manifest.groups)  # it ends before, or is refused: what is applied shows
            break
        last, count = LogPosition(entry.index, entry.term, entry.stamp), count + 1
    last = last if last.index else FIRST
    target = GroupTarget(image.group, last.index, last.stamp_ms, image.revision, image.keys, count, image.sum)
    return target, groups


def _commands_of(entry: Entry) -> Sequence[Command]:
    try:
        return commands_of(entry, 0)
    except UnknownCommand as error:
        raise BackupError(str(error)) from error


def refuse_used_directory(directory: str) -> None:
    """Raise `DirectoryUnusable` unless a restore may fill the directory."""
    path = Path(directory)
    try:
        there = [each.name for each in path.iterdir()] if path.is_dir() else []
        running = holder(directory) if LOCK_FILE in there else None
    except OSError as error:
        raise DirectoryUnusable(f"data directory {directory}: {error.strerror or error}") from error
    if running is not None:
        text = f"is in use by process {running or 'unknown'}: stop that node, and move the directory away"
        raise DirectoryUnusable(f"data directory {directory} {text}: mv {directory} {directory}.old")
    used = sorted(set(there) - {LOCK_FILE, "lost+found"})
    if RESTORING_FILE in used:
        return  # what it holds was left by a restore that did not end
    if LOG_FILE in used:
        text = f"is not empty: it has the data of a node. Move it away: mv {directory} {directory}.old"
        raise DirectoryUnusable(f"data directory {directory} {text}")
    if used:
        names = ", ".join(used[:3])
        raise DirectoryUnusable(f"data directory {directory} is not empty ({names}): name another one")


def restore(
    backup: Restoration,
    directory: str,
    node_id: str,
    founders: tuple[Member, ...],
    cluster_id: ClusterId,
    report: Report = no_report,
    settings: StorageSettings = StorageSettings(),  # noqa: B008 - frozen
) -> tuple[Identity, tuple[GroupTarget, ...]]:
    """Make `directory` that of the founder `node_id`, durable on return.

    Raises `StorageError` and `BackupError`; then no node starts there, and the restore may be repeated.
    """
    own = next(member for member in founders if member.id == node_id)
    groups = backup.manifest.groups
    founded = backup.manifest.founded_groups
    cluster = cluster_id(founders, founded)
    identity = Identity(node_id, own.incarnation, cluster, founders, founded, len(groups) - founded)
    refuse_used_directory(directory)
    prepare_directory(directory, restoring=True)
    lock = DirectoryLock(directory)
    try:
        files = RealDirectory(directory)
        files.record_file(RESTORING_FILE).close()
        for path in node_files(directory):
            if path.name != LOCK_FILE:
                path.unlink()
        progress = _Progress(sum(each.size for each in groups), report)
        writers = {each.group: _Group(backup, each, files, settings, progress) for each in groups}

        def begin(group: int) -> LogReplay:
            if backup.moment.revision is not None:
                raise BackupError(f"{backup.folder}: {GROWN}")
            writers[group] = _Group(backup, created_image(group), files, settings, progress)
            return writers[group].replay

        replay({group: each.replay for group, each in writers.items()}, founded, begin)
        retired = tuple(sorted(set[str]().union(*(each.replay.retired for each in writers.values()))))
        restored = [writers[group].write(founders, retired) for group in sorted(writers)]
        identity = replace(identity, created=len(writers) - founded)
        _write_log(files, identity, [persist for persist, _ in restored], settings)
        files.remove(RESTORING_FILE)
        files.sync()
    except OSError as error:
        raise DirectoryUnusable(f"data directory {directory}: {error.strerror or error}") from error
    finally:
        lock.release()
    return identity, tuple(target for _, target in restored)


class _Progress:
    """How many bytes of all groups are read; `report` is told."""

    def __init__(self, total: int, report: Report) -> None:
        self._done = 0
        self._total = total
        self._report = report

    def add(self, size: int) -> None:
        """So many more are read. Keys and values are counted in the total, rows are a little larger."""
        self._done += size
        self._report(min(self._done, self._total), self._total)


class _Group:
    """The restore of one group. `replay` begins with the state of its image."""

    def __init__(
        self,
        backup: Restoration,
        image: GroupImage,
        files: RealDirectory,
        settings: StorageSettings,
        progress: "_Progress",
    ) -> None:
        self._backup = backup
        self._image = image
        self._folder = StateFolder(files, settings, vfs="", shared=True, read_only=False)
        self.replay = LogReplay(backup, image, self._machine(progress) if image.index else Machine())

    def _machine(self, progress: "_Progress") -> Machine:
        """The state of the image."""
        received = self._received(progress)
        checkpoint = received.checkpoint
        return Machine.restored(
            received.keyspace, checkpoint.base.stamp, checkpoint.revision, checkpoint.machine_version
        )

    def write(self, founders: tuple[Member, ...], retired: tuple[str, ...]) -> tuple[Persist, GroupTarget]:
        """Write the state after the replay. Returns what the log has to say of it."""
        group, replayed, machine = self._image.group, self.replay, self.replay.machine
        if machine.version > MACHINE_VERSION:
            raise BackupError(f"the log raises the machine version to {machine.version}: {_TOO_OLD}")
        last = replayed.last if replayed.last.index else FIRST
        configuration = msgspec.structs.replace(Configuration.of_voters(founders), retired=retired)
        base = Base(last.index, last.term, last.stamp_ms, last.index, configuration)
        held = self._folder.write(group, STATE_NUMBER, machine.capture(base))
        target = GroupTarget(
            group,
            last.index,
            last.stamp_ms,
            held.revision,
            held.keys,
            replayed.count,
            held.sum.hex(),
            replayed.left_out,
        )
        persist = Persist(0, HardState(last.term), None, (), last.index, base, STATE_NUMBER)
        return persist, target

    def _received(self, progress: "_Progress") -> Received:
        """The state of the image in a state file and in memory; it has the sum that the manifest promises."""
        image, backup = self._image, self._backup
        receiver = self._folder.receive(image.group, STATE_NUMBER, image.checkpoint)
        if receiver is None:
            raise NoSpace(f"{self._folder.place(image.group, STATE_NUMBER)}: the disk is full")
        try:
            for path, data in images.group_pieces(backup.folder, backup.manifest, image, backup.key):
                if wrong := receiver.write(data):
                    raise DamagedBackup(path, wrong)
                progress.add(len(data))
            received = receiver.finish()
            if isinstance(received, str):
                raise DamagedBackup(backup.folder, f"group {image.group}: {received}")
        except BaseException:
            receiver.close()
            raise
        return received


def _write_log(
    files: RealDirectory, identity: Identity, writes: Sequence[Persist], settings: StorageSettings
) -> None:
    database = LogDatabase(
        files, node_id=identity.id, incarnation=lambda: identity.incarnation, settings=settings
    )
    try:
        if not database.commit([Transaction(tuple(enumerate(writes)), identity)]):
            raise NoSpace(f"{files.path('')}: the disk is full")
        database.close()
    except BaseException:
        database.abandon()
        raise
