"""From a backup to the data directory of a new cluster's founder.

The state of the image is written as a received snapshot would be, and compared with the sum in the manifest.
Then the shipped entries up to the moment are applied to it, by the state machine that every replica has. The
result is a state file at the last of these entries, in a log that begins after it.

The cluster is a new one: its founders have new incarnations, so its id is new, and those of the old cluster
are retired. So a restored node and one of the old cluster refuse each other, whatever else is still running.

Several founders are restored one by one, each on its own machine, from the same backup to the same moment.
They have to know one another's incarnations in advance. So these are made from a *token*, a random text that
is drawn for one restore and given to all of them. A directory that is restored a second time with the same
token counts as an old copy of the first one.

`log.db` is the last file that is written. Until then the file `restoring` keeps a node from starting there.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from kraft.backup import image as images
from kraft.backup.archive import Archive, find_image
from kraft.backup.backup_key import BackupKey
from kraft.backup.errors import BackupError, DamagedBackup, NothingThere
from kraft.backup.image import Report, no_report
from kraft.backup.manifest import GroupImage, Manifest
from kraft.backup.shipped_log import LogPosition
from kraft.kv.entry import apply_entry, commands_of
from kraft.kv.errors import UnknownCommand
from kraft.kv.machine import TRANSACTION_COMMANDS, Machine
from kraft.kv.replies import CommandFailure
from kraft.kv.versions import MACHINE_VERSION
from kraft.moment import Moment, when
from kraft.node.values import Identity, Received, Transaction
from kraft.raft.membership.configuration import Base, Configuration, Member
from kraft.raft.messages import Entry, EntryKind, HardState
from kraft.raft.ready import Persist
from kraft.storage.access import node_files
from kraft.storage.directory import RESTORING_FILE, RealDirectory, prepare_directory
from kraft.storage.errors import DirectoryUnusable, NoSpace
from kraft.storage.lock import LOCK_FILE, DirectoryLock
from kraft.storage.log.database import LogDatabase
from kraft.storage.ports import StorageSettings
from kraft.storage.state.folder import StateFolder

ClusterId = Callable[[tuple[Member, ...], int], str]  # `host.formation.cluster_id`: of founders and groups
STATE_NUMBER = 1  # of the state file of each group
_TOO_OLD = f"this kraft supports up to {MACHINE_VERSION}: install the one that made it"


@dataclass(frozen=True, slots=True)
class GroupTarget:
    """Where a group of the restored cluster stands, and how many entries came from the log."""

    group: int
    index: int
    stamp_ms: int
    revision: int
    keys: int
    entries: int
    sum: str


@dataclass(frozen=True, slots=True)
class Restoration:
    """The image to start from, and the moment to go on to."""

    archive: Archive
    folder: Path
    manifest: Manifest
    moment: Moment

    @property
    def key(self) -> BackupKey | None:
        """The key of the image."""
        return self.archive.key


def open_backup(source: str, moment: Moment, key: BackupKey | None) -> Restoration:
    """The image at `source` from which `moment` can be reached. Raises `BackupError`."""
    archive, folder, manifest = find_image(Path(source), moment, key)
    if moment.revision is not None and len(manifest.groups) > 1:
        raise BackupError(
            f"{folder}: each of its {len(manifest.groups)} groups counts revisions for itself: name a time"
        )
    newest = max((group.machine_version for group in manifest.groups), default=1)
    if newest > MACHINE_VERSION:
        raise BackupError(f"{folder}: it is of machine version {newest}: {_TOO_OLD}")
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
    targets = []
    for group in backup.manifest.groups:
        last, count = _position(group), 0
        for entry in _entries(backup, group):
            last, count = LogPosition(entry.index, entry.term, entry.stamp), count + 1
        targets.append(
            GroupTarget(group.group, last.index, last.stamp_ms, group.revision, group.keys, count, group.sum)
        )
    return tuple(targets)


def refuse_used_directory(directory: str) -> None:
    """Raise `DirectoryUnusable` unless a restore may fill the directory."""
    path = Path(directory)
    if path.exists() and path.is_dir():
        used = sorted(each.name for each in path.iterdir() if each.name not in (LOCK_FILE, "lost+found"))
        if RESTORING_FILE in used:
            return  # what it holds was left by a restore that did not end
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
    identity = Identity(node_id, own.incarnation, cluster_id(founders, len(groups)), founders, len(groups))
    refuse_used_directory(directory)
    prepare_directory(directory, restoring=True)
    lock = DirectoryLock(directory)
    try:
        files = RealDirectory(directory)
        files.record_file(RESTORING_FILE).close()
        for path in node_files(directory):
            if path.name != LOCK_FILE:
                path.unlink()
        restored = [_Group(backup, group, files, settings).restore(founders, report) for group in groups]
        _write_log(files, identity, [persist for persist, _ in restored], settings)
        files.remove(RESTORING_FILE)
        files.sync()
    except OSError as error:
        raise DirectoryUnusable(f"data directory {directory}: {error.strerror or error}") from error
    finally:
        lock.release()
    return identity, tuple(target for _, target in restored)


class _Group:
    """The restore of one group."""

    def __init__(
        self, backup: Restoration, image: GroupImage, files: RealDirectory, settings: StorageSettings
    ) -> None:
        self._backup = backup
        self._image = image
        self._folder = StateFolder(files, settings, vfs="", shared=True, read_only=False)

    def restore(self, founders: tuple[Member, ...], report: Report) -> tuple[Persist, GroupTarget]:
        """Write the state file. Returns what the log has to say of it."""
        image = self._image
        received = self._received(report)
        checkpoint = received.checkpoint
        machine = Machine.restored(
            received.keyspace, checkpoint.base.stamp, checkpoint.revision, checkpoint.machine_version
        )
        last, count = _position(image), 0
        retired = _incarnations(checkpoint.base.configuration)
        for entry in _entries(self._backup, image, machine):
            if entry.kind == EntryKind.CONFIGURATION:
                retired |= _incarnations(msgspec.msgpack.decode(entry.data, type=Configuration))
            last, count = LogPosition(entry.index, entry.term, entry.stamp), count + 1
        if machine.version > MACHINE_VERSION:
            raise BackupError(f"the log raises the machine version to {machine.version}: {_TOO_OLD}")
        configuration = msgspec.structs.replace(
            Configuration.of_voters(founders), retired=tuple(sorted(retired))
        )
        base = Base(last.index, last.term, last.stamp_ms, last.index, configuration)
        database = self._folder.open(image.group, STATE_NUMBER)
        try:
            if not database.write(machine.capture(base)) or database.checkpoint is None:
                raise NoSpace(f"{database.place}: the disk is full")
            held = database.checkpoint
            database.close()
        except BaseException:
            database.abandon()
            raise
        self._folder.sync()
        target = GroupTarget(
            image.group, last.index, last.stamp_ms, held.revision, held.keys, count, held.sum.hex()
        )
        persist = Persist(0, HardState(last.term), None, (), last.index, base, STATE_NUMBER)
        return persist, target

    def _received(self, report: Report) -> Received:
        """The state of the image in a state file and in memory; it has the sum that the manifest promises."""
        image, backup = self._image, self._backup
        receiver = self._folder.receive(image.group, STATE_NUMBER, image.checkpoint)
        if receiver is None:
            raise NoSpace(f"{self._folder.place(image.group, STATE_NUMBER)}: the disk is full")
        done = 0
        try:
            for path, data in images.group_pieces(backup.folder, backup.manifest, image, backup.key):
                if wrong := receiver.write(data):
                    raise DamagedBackup(path, wrong)
                done += len(data)
                report(min(done, image.size), image.size)
            received = receiver.finish()
            if isinstance(received, str):
                raise DamagedBackup(backup.folder, f"group {image.group}: {received}")
        except BaseException:
            receiver.close()
            raise
        return received


def _entries(backup: Restoration, image: GroupImage, machine: Machine | None = None) -> Iterator[Entry]:
    """The entries after the image up to the moment, each applied to `machine`.

    Raises `NothingThere` if the backup does not reach the moment.
    """
    moment, group = backup.moment, image.group
    log = backup.archive.shipped_log(backup.manifest.cluster, group)
    if moment.revision is not None and image.revision >= moment.revision:
        return
    reached = max(image.stamp_ms, backup.manifest.created_ms)  # it holds all that was written before that
    try:
        for entry in log.entries(_position(image)):
            if moment.time_ms is not None and entry.stamp > moment.time_ms:
                return
            reached = entry.stamp
            done = machine is not None and _apply(machine, entry, group, moment.revision)
            yield entry
            if done:
                return
        reach = log.reach
    except DamagedBackup as error:
        raise error.until(
            f"what comes before it reaches to {when(reached)}: restore that with --at"
        ) from None
    if reach is not None and not log.gap:
        reached = max(reached, reach.reaches_ms)
    if moment.time_ms is not None and reached < moment.time_ms:
        raise NothingThere(f"{backup.folder.parent}: the backup of group {group} reaches to {when(reached)}")
    if moment.revision is not None and machine is not None:
        raise NothingThere(
            f"{backup.folder.parent}: the backup reaches to revision {machine.revision}, of {when(reached)}"
        )


def _apply(machine: Machine, entry: Entry, group: int, revision: int | None) -> bool:
    """Apply an entry; with a `revision` only up to it. Returns whether it was reached."""
    try:
        if revision is None or entry.kind != EntryKind.COMMANDS:
            apply_entry(machine, entry, group)
            return False
        # As when the batch is applied as a whole: no plain command is done after one that a lock holds up.
        held_up = False
        for command in commands_of(entry, group):
            if held_up and type(command) not in TRANSACTION_COMMANDS:
                continue
            (reply,) = machine.apply(entry.stamp, (command,))
            held_up = held_up or reply is CommandFailure.LOCKED
            if machine.revision >= revision:
                return True
    except UnknownCommand as error:
        raise BackupError(str(error)) from error
    return False


def _position(image: GroupImage) -> LogPosition:
    return LogPosition(image.index, image.term, image.stamp_ms)


def _incarnations(configuration: Configuration) -> set[str]:
    """The incarnations of all members of a configuration, former ones included."""
    found = {*configuration.retired, *(member.incarnation for member in configuration.everyone)}
    return found if configuration.target is None else found | _incarnations(configuration.target)


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
