"""The data directory on a real file system: its owner, and renames that survive a power cut."""

import errno
import mmap
import os
import stat
from pathlib import Path

from kraft.storage.access import barred_folder, explain_denial, refuse_unusable_files, user_name
from kraft.storage.errors import CannotOpen, DirectoryUnusable

RESTORING_FILE = "restoring"  # is there while a backup is restored into the directory


class RealRecordFile:
    """`ports.RecordFile` as a memory map.

    A write is then a few bytes of memory, which the kernel keeps when the process dies. As a system call it
    would wait, at each commit, for the file system's journal, which the log's own sync has just set to work.
    """

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._map = self._mapped(max(1, os.fstat(self._fd).st_size))

    def _mapped(self, size: int) -> mmap.mmap:
        """Allocate blocks for every page: writing to a hole could fail later, with a signal."""
        size = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
        os.posix_fallocate(self._fd, 0, size)
        return mmap.mmap(self._fd, size)

    def read(self) -> bytes:
        """Its whole content."""
        return self._map[:]

    def write(self, offset: int, data: bytes) -> None:
        """Overwrite, without sync."""
        end = offset + len(data)
        if end > len(self._map):
            self._map.close()
            self._map = self._mapped(end)
        self._map[offset:end] = data

    def sync(self) -> None:
        """Make every write so far durable."""
        self._map.flush()

    def close(self) -> None:
        """Close it, without sync; a second call does nothing."""
        if self._fd >= 0:
            self._map.close()
            os.close(self._fd)
            self._fd = -1


class RealDirectory:
    """`ports.Directory` on a real file system."""

    def __init__(self, path: str) -> None:
        self._path = path

    def path(self, name: str) -> str:
        """The path of a file, as SQLite opens it and messages show it."""
        return str(Path(self._path, name))

    def exists(self, name: str) -> bool:
        """Whether the file is there."""
        return Path(self._path, name).exists()

    def size(self, name: str) -> int:
        """Bytes; 0 when the file is not there."""
        try:
            return Path(self._path, name).stat().st_size
        except FileNotFoundError:
            return 0

    def names(self) -> list[str]:
        """All files in the directory, sorted."""
        return sorted(path.name for path in Path(self._path).iterdir())

    def sync(self) -> None:
        """Make the names in the directory durable."""
        sync_directory(self._path)

    def remove(self, name: str) -> None:
        """Delete a file; nothing happens when it is not there."""
        Path(self._path, name).unlink(missing_ok=True)

    def rename(self, name: str, to: str) -> None:
        """Replace the file `to`; durable on return."""
        Path(self._path, name).replace(Path(self._path, to))
        sync_directory(self._path)

    def record_file(self, name: str) -> RealRecordFile:
        """Open a file; when it is not there, create it durably."""
        fresh = not self.exists(name)
        file = RealRecordFile(self.path(name))
        if fresh:
            sync_directory(self._path)
        return file


def sync_directory(path: str) -> None:
    """Make the names in a directory durable: a file's own fsync does not cover its name.

    Raises `CannotOpen` when the process has too many files open.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            raise CannotOpen(f"{path}: cannot be opened: {error.strerror}") from error
        raise
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def prepare_directory(path: str, *, restoring: bool = False) -> None:
    """Create the directory if it is missing (mode 0700). Raises `DirectoryUnusable` if it cannot be used, or
    a file of a node in it.

    Unless this is a `restoring` process, it also refuses a directory in which a restore did not end.
    """
    directory = Path(path)
    try:
        if directory.is_symlink() and not directory.exists():
            raise DirectoryUnusable(f"data directory {path} is a symbolic link to nothing: ls -l {path}")
        if not directory.exists():
            directory.mkdir(mode=0o700, parents=True)
            sync_directory(str(directory.parent))
        status = directory.stat()
    except OSError as error:
        raise DirectoryUnusable(f"data directory {path}: {_reason(directory, error)}") from None
    if not directory.is_dir():
        raise DirectoryUnusable(f"data directory {path} is not a directory: ls -ld {path}")
    refuse_foreign_owner(path, status.st_uid, os.geteuid())
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK, effective_ids=True):
        raise DirectoryUnusable(f"data directory {path}: {explain_denial(directory, stat.S_IRWXU)}")
    if not restoring and Path(path, RESTORING_FILE).exists():
        raise DirectoryUnusable(
            f"data directory {path}: a restore into it was interrupted: repeat kraft restore, or empty it"
        )
    refuse_unusable_files(path)


def _reason(directory: Path, error: OSError) -> str:
    """Why a directory is not there and cannot be created."""
    if error.errno == errno.EACCES and (barred := barred_folder(directory)):
        return f"{user_name(os.geteuid())} may not enter {barred}: ls -ld {barred}"
    above = Path(error.filename or directory)
    while not os.path.lexists(above) and above != above.parent:
        above = above.parent
    if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
        return error.strerror or str(error)
    return f"it cannot be created in {above}: {explain_denial(above, stat.S_IRWXU)}"


def refuse_foreign_owner(path: str, owner: int, user: int) -> None:
    """Raise `DirectoryUnusable` if they differ, even for root, whose files would shut the owner out."""
    if owner != user:
        raise DirectoryUnusable(
            f"data directory {path} belongs to {user_name(owner)}, this process runs as {user_name(user)}:"
            f" run it as {user_name(owner)}, or chown -R {user_name(user)}: {path}"
        )
