"""An image: the complete state of all groups, each at one index, in a folder of parts and a manifest.

The rows are those of a snapshot that one node sends to another (`node.values.Rows`), in the same order and
pieces: there is one form of the state outside of SQLite. An image is written to a folder with another name,
read back and compared with the sums of the state, and only then renamed: a folder that has its name is
complete.
"""

import shutil
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import msgspec

from kraft.backup import manifest as manifests
from kraft.backup.backup_key import BackupKey
from kraft.backup.errors import BackupError, DamagedBackup
from kraft.backup.frames import FrameFileReader, FrameFileWriter, explain, sync_folder
from kraft.backup.manifest import GroupImage, Manifest, Part
from kraft.backup.ports import ImageSource
from kraft.kv.checkpoint import HASH_BYTES, Checkpoint, moved_sum, record_hash
from kraft.node.values import SnapshotRow, decode_rows

PART_BYTES = 64 << 20
VERIFIED_ROWS = 64  # between two pauses: about 0.2 ms
NOTHING = bytes(HASH_BYTES)

Report = Callable[[int, int], object]  # how many rows are done, and how many there are
Pause = Callable[[], object]


def no_report(_done: int, _of: int) -> None:
    """For a caller that does not show how far the work has come."""


def no_pause() -> None:
    """For a caller whose process does nothing else."""


class ImageWriter:
    """Writes the image `name` into the folder `archive`. Group after group: `begin`, then `add`.

    Methods raise `BackupError`. `finish` or `abandon` must be called.
    """

    def __init__(self, archive: Path, head: Manifest, key: BackupKey | None) -> None:
        """`head` is the manifest without groups."""
        self._head = head
        self._key = key
        self._target = archive / head.name
        self._folder = archive / f".{head.name}.partial"
        self._groups: list[GroupImage] = []
        self._parts: list[Part] = []
        self._part: FrameFileWriter | None = None
        if self._target.exists():
            raise BackupError(f"{self._target}: there is an image of this name already")
        try:
            if self._folder.exists():
                shutil.rmtree(self._folder)  # left by a process that was killed
            self._folder.mkdir(parents=True, mode=0o700)
        except OSError as error:
            raise explain(self._folder, error) from error

    def begin(self, group: int, checkpoint: Checkpoint) -> None:
        """The rows that follow are those of `group` at `checkpoint`."""
        self._end_group()
        self._groups.append(GroupImage.of(group, checkpoint))

    def add(self, rows: bytes) -> None:
        """Append a piece of rows, after all before it."""
        if self._part is None:
            group = self._groups[-1].group
            number = len(self._parts) + 1
            header = {"image": self._head.name, "cluster": self._head.cluster, "group": group, "part": number}
            path = self._folder / f"group-{group}-{number:04}.rows"
            self._part = FrameFileWriter(path, header, self._key)
        self._part.add(rows)
        if self._part.size >= PART_BYTES:
            self._end_part()

    def finish(self, report: Report = no_report, pause: Pause = no_pause) -> Manifest:
        """Make it durable, read it back, and give it its name."""
        self._end_group()
        manifest = msgspec.structs.replace(self._head, groups=tuple(self._groups))
        manifests.write(self._folder, manifest, self._key)
        if verify(self._folder, self._key, report, pause) != manifest:
            raise DamagedBackup(self._folder, "it does not read back as it was written")
        try:
            self._folder.rename(self._target)
        except OSError as error:
            raise explain(self._target, error) from error
        sync_folder(self._target.parent)
        return manifest

    def abandon(self) -> None:
        """Remove what was written, unless it is complete."""
        if self._part is not None:
            self._part.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _end_part(self) -> None:
        part, self._part = self._part, None
        if part is not None:
            part.end()
            part.sync()
            part.close()
            self._parts.append(Part(part.path.name, part.size, part.sha256))

    def _end_group(self) -> None:
        self._end_part()
        if self._groups:
            self._groups[-1] = msgspec.structs.replace(self._groups[-1], parts=tuple(self._parts))
        self._parts = []


def write_image(
    source: ImageSource,
    archive: Path,
    name: str,
    key: BackupKey | None,
    report: Report = no_report,
    pause: Pause = no_pause,
) -> Manifest:
    """Write `source` as the image `name` into the folder `archive`, verified. Raises `BackupError`.

    `report` is told how many bytes are written, and then how many rows are verified.
    """
    head = source.head
    total = sum(group.size for group in head.groups)
    bare = msgspec.structs.replace(head, name=name, encrypted=key is not None, groups=())
    writer = ImageWriter(archive, bare, key)
    try:
        done = 0
        for group in head.groups:
            writer.begin(group.group, group.checkpoint)
            after: bytes | None = None
            end = False
            while not end:
                rows = source.read(group.group, after)
                after, end = rows.last, rows.end
                writer.add(rows.data)
                done += len(rows.data)
                report(min(done, total), total)
                pause()
        return writer.finish(report, pause)
    except BaseException:
        writer.abandon()
        raise


def verify(
    folder: Path, key: BackupKey | None, report: Report = no_report, pause: Pause = no_pause
) -> Manifest:
    """Read the whole image in `folder`, compare it with its manifest, and return that.

    The sum over all rows is computed anew. Raises `BackupError`, which names the file that is damaged.
    """
    manifest = manifests.read(folder, key)
    done = 0
    for group in manifest.groups:
        totals = _Totals()
        for rows in group_rows(folder, manifest, group, key):
            for at in range(0, len(rows), VERIFIED_ROWS):
                totals.add(rows[at : at + VERIFIED_ROWS])
                pause()
            done += len(rows)
            report(done, manifest.keys)
        if wrong := totals.difference(group):
            raise DamagedBackup(folder / manifests.MANIFEST_FILE, f"group {group.group}: {wrong}")
    return manifest


def group_rows(
    folder: Path, manifest: Manifest, group: GroupImage, key: BackupKey | None
) -> Iterator[list[SnapshotRow]]:
    """The rows of a group in their pieces. Raises as `verify`."""
    for path, data in group_pieces(folder, manifest, group, key):
        try:
            yield decode_rows(data)
        except msgspec.DecodeError as error:
            raise DamagedBackup(path, f"not rows: {error}") from None


def group_pieces(
    folder: Path, manifest: Manifest, group: GroupImage, key: BackupKey | None
) -> Iterator[tuple[Path, bytes]]:
    """The rows of a group as they were written (`Rows.data`), each with its file; the files are verified."""
    if manifest.encrypted and key is None:
        raise BackupError(f"{folder}: the image is encrypted: name the key file with --key-file")
    for number, part in enumerate(group.parts, 1):
        path = folder / part.file
        if "/" in part.file or part.file.startswith("."):
            raise DamagedBackup(folder / manifests.MANIFEST_FILE, f"{part.file!r} is no name of a part")
        with FrameFileReader(path, key) as file:
            named = tuple(map(file.header.get, ("cluster", "image", "group", "part")))
            if named != (manifest.cluster, manifest.name, group.group, number):
                raise DamagedBackup(path, "it is another part, or one of another image or cluster")
            for data in file.frames():
                yield path, data
            if not file.ended:
                raise DamagedBackup(path, "it is truncated: the end is missing")
            if (file.size, file.sha256) != (part.bytes, part.sha256):
                raise DamagedBackup(path, "its checksum is not the one in the manifest")


class _Totals:
    """Number, bytes and sum of rows, which have to come in their order."""

    def __init__(self) -> None:
        self._keys = self._size = self._added = 0
        self._last: tuple[bytes, int] | None = None
        self._wrong = ""

    def add(self, rows: list[SnapshotRow]) -> None:
        """Count these rows."""
        places = [(row.key, row.ledger) for row in rows]
        if self._last is not None:
            places.insert(0, self._last)
        if any(first >= second for first, second in pairwise(places)):
            self._wrong = "its rows are out of order"
        self._last = places[-1]
        self._keys += len(rows)
        for key, value, revision, expires, ledger in map(msgspec.structs.astuple, rows):
            self._size += len(key) + len(value)
            hash_ = record_hash(key, value, revision, expires, ledger=bool(ledger))
            self._added += int.from_bytes(hash_, "big")

    def difference(self, group: GroupImage) -> str:
        """What differs from the manifest, '' for nothing."""
        if self._wrong:
            return self._wrong
        if (self._keys, self._size) != (group.keys, group.size):
            return f"it has {self._keys} rows of {self._size} bytes, not {group.keys} of {group.size}"
        found = moved_sum(NOTHING, self._added, 0).hex()
        return "" if found == group.sum else f"the sum of its rows is {found}, not {group.sum}"
