"""Whether this process can use the files of a data directory; if not, why, and the command that mends it.

SQLite reports such a file as an I/O error, or opens it for reading only and fails later. So every file is
tried before anything is opened.
"""

import errno
import os
import pwd
import re
import stat
from pathlib import Path

from kraft.storage.errors import DirectoryUnusable

_NAMES = re.compile(
    r"lock|ballast|highwater|damaged|(log\.db(\.new)?|state-[0-9]+-[0-9]+\.db)(-wal|-shm|-journal)?", re.ASCII
)
_OWNER = stat.S_IRUSR | stat.S_IWUSR


def refuse_unusable_files(directory: str) -> None:
    """Raise `DirectoryUnusable` for the first file of a node that cannot be read and written."""
    for path in node_files(directory):
        if reason := obstacle(path):
            raise DirectoryUnusable(reason)


def node_files(directory: str) -> list[Path]:
    """What has the name of a node's file, whatever it is; other files are the user's."""
    return sorted(path for path in Path(directory).iterdir() if _NAMES.fullmatch(path.name))


def obstacle(path: Path) -> str:
    """Why this process cannot read and write the file, and what to do; '' if it can, or if there is none.

    The file is not opened: closing it would drop the locks that SQLite has on it.
    """
    try:
        found = path.stat()
        if kind := wrong_kind(path, found):
            return kind
        if not os.access(path, os.R_OK | os.W_OK, effective_ids=True):
            return f"{path}: {explain_denial(path)}"
    except FileNotFoundError:
        if path.is_symlink():
            return f"{path} is a symbolic link to {path.readlink()}, which does not exist: ls -l {path}"
        return ""
    except OSError as error:
        return f"{path}: {explain_error(path, error)}"
    return ""


def wrong_kind(path: Path, found: os.stat_result) -> str:
    """What is there in place of a regular file; '' if it is one."""
    if stat.S_ISREG(found.st_mode):
        return ""
    kind = "a directory" if stat.S_ISDIR(found.st_mode) else "something else"
    return f"{path} is {kind}, not a file: mv {path} {path}.away"


def explain_error(path: Path, error: OSError) -> str:
    """Why a file could not be opened, and the next command."""
    denied = error.errno in (errno.EACCES, errno.EPERM, errno.EROFS)
    return explain_denial(path) if denied else error.strerror or str(error)


def explain_denial(path: Path, need: int = _OWNER) -> str:
    """Why this process may not use a file or directory, and the next command.

    `need` is the mode that its owner needs for it.
    """
    user = user_name(os.geteuid())
    if barred := barred_folder(path):
        return f"{user} may not enter {barred}: ls -ld {barred}"
    if os.statvfs(path).f_flag & os.ST_RDONLY:
        return f'its file system is mounted read-only: mount -o remount,rw "$(findmnt -no TARGET -T {path})"'
    found = path.stat()
    held = f"it belongs to {user_name(found.st_uid)} and has mode {stat.S_IMODE(found.st_mode):04o}"
    held += f", and this process runs as {user}"
    if found.st_uid != os.geteuid():
        return f"{held}: chown {user} {path}"
    if found.st_mode & need != need:
        return f"{held}: {mend_mode(path, need)}"
    return f"permission denied, although {held}: lsattr -d {path}; getfacl {path}"


def mend_mode(path: Path, need: int = _OWNER) -> str:
    """The command that gives the owner of a file or directory what it needs."""
    return f"chmod u+{'rwx' if need & stat.S_IXUSR else 'rw' if need & stat.S_IWUSR else 'r'} {path}"


def owner_lacks(found: os.stat_result) -> bool:
    """Whether the mode of a file keeps its owner from reading or writing it."""
    return found.st_mode & _OWNER != _OWNER


def user_name(uid: int) -> str:
    """The name of a user; `#UID` if the system does not know the user."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"#{uid}"


def barred_folder(path: Path) -> Path | None:
    """The highest folder above `path` that this process may not enter."""
    above = reversed(path.absolute().parents)
    first = next((folder for folder in above if not os.access(folder, os.X_OK, effective_ids=True)), None)
    return first if first is not None and os.path.lexists(first) else None
