"""Files of the node: its directory, its secret, and the disk below. No file of a running node is opened."""

import grp
import os
import pwd
import stat
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from kraft.cli.checks.result import OK, PROBLEM, WARNING, CheckResult
from kraft.cli.checks.subject import Subject, mine, user_name
from kraft.storage.errors import DamagedLog, DirectoryLocked, StorageError
from kraft.storage.offline.inspection import Inspection, inspect
from kraft.storage.ports import Settings
from kraft.web.findings import DISK_FREE_BYTES

SECRET_BYTES_MIN = 16  # 128 bits, if they are random
FULL_SOON_BYTES = 2 * Settings().wal_bytes_max  # the log's WAL may grow by its bound, and is then copied
INODES_MIN = 100  # a node makes a handful of files; the rest is for its neighbours on the file system
SAMPLES, PROBE_SECONDS = 50, 3.0  # about two seconds of a slow disk, a blink of a good one
PROBE_BYTES = 4096  # a page: the least that a commit writes
SLOW_MEDIAN_SECONDS = 0.025  # a rotating disk takes half of that; every write of a client waits so long
SLOW_SECONDS, VERY_SLOW_SECONDS = 0.1, 0.5  # as the alerts KraftLogFsyncSlow and KraftLogFsyncVerySlow


# -- the directory ------------------------------------------------------------------------------------


def directory(subject: Subject) -> Iterator[CheckResult]:
    """Owner, mode and lock; and while the node is stopped, whether its log is whole at its end."""
    path = subject.data
    if not path.exists():
        yield _missing(path)
        return
    if not path.is_dir():
        yield CheckResult(PROBLEM, f"node.data {path} is not a directory", f"ls -ld {path}")
        return
    found = path.stat()
    owner = user_name(found.st_uid)
    if strangers := _of_others(path, found.st_uid):
        text = f"{path} belongs to {owner}, but {', '.join(strangers)} in it to somebody else"
        yield CheckResult(PROBLEM, text, f"chown -R {owner}: {path}")
    if found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        text = f"others than {owner} get into {path} (mode {stat.S_IMODE(found.st_mode):04o})"
        yield CheckResult(WARNING, text, f"chmod 700 {path}")
    if subject.running:
        yield CheckResult(OK, f"{path} belongs to {owner}, and is locked by {_process(subject)}")
    elif not mine(path):
        yield CheckResult(OK, f"{path} belongs to {owner}, who alone may look into it", subject.as_owner())
    else:
        yield from _inside(subject, path)


def _missing(path: Path) -> CheckResult:
    above = existing(path)
    if os.access(above, os.W_OK | os.X_OK):
        return CheckResult(OK, f"node.data {path} is not there yet: the first start makes it")
    text = f"node.data {path} is not there, and {user_name(os.geteuid())} may make nothing in {above}"
    return CheckResult(PROBLEM, text, f"install -d -m 700 -o USER {path}")


def _of_others(path: Path, owner: int) -> list[str]:
    with os.scandir(path) as entries:
        return sorted(each.name for each in entries if each.stat(follow_symlinks=False).st_uid != owner)


def _process(subject: Subject) -> str:
    return f"process {subject.pid}" if subject.pid else "a process"


def _inside(subject: Subject, path: Path) -> Iterator[CheckResult]:
    try:
        found = inspect(str(path))
    except DirectoryLocked as error:  # the node was started meanwhile
        yield CheckResult(OK, str(error))
    except DamagedLog as error:
        again = f"KRAFT REPLACE {subject.id} ID HOST PORT, at a node that runs (docs/recovery.md)"
        yield CheckResult(PROBLEM, str(error), again)
    except StorageError as error:
        yield CheckResult(PROBLEM, str(error), f"ls -la {path}")
    else:
        yield from _content(subject, path, found)


def _content(subject: Subject, path: Path, found: Inspection | None) -> Iterator[CheckResult]:
    if found is None:
        yield CheckResult(OK, f"{path} is empty of a node's files: the first start makes them")
        return
    if found.node != subject.id:
        text = f"{path} belongs to node {found.node}, and the configuration is that of {subject.id}"
        yield CheckResult(PROBLEM, text, f"grep -nA3 ^node: {subject.file}")
    for group in sorted(found.fenced):
        text = f"the data of group {group} here is known to be wrong: start the node, then copy it anew"
        yield CheckResult(PROBLEM, text, f"KRAFT RESEED {found.node}")
    ends = ", ".join(f"group {group} ends at index {last}" for group, last in found.last.items())
    known = f"cluster {found.cluster[:12]}" if found.cluster else "no cluster yet"
    yield CheckResult(OK, f"{path} has the data of {found.node}, {known}{ends and f'; the log of {ends}'}")


# -- the secret ---------------------------------------------------------------------------------------


def secret(subject: Subject) -> Iterator[CheckResult]:
    """There, long enough, and for nobody else."""
    name = subject.config.cluster.secret_file
    if name is None:
        yield CheckResult(OK, "none is needed: all peers are on this machine")
        return
    path = Path(name)
    try:
        found = path.stat()
    except OSError as error:
        yield CheckResult(PROBLEM, f"{path}: {error.strerror}", f"ls -l {path}")
        return
    yield from _secrecy(subject, path, found)
    try:
        size = len(path.read_bytes().strip())
    except OSError as error:
        yield CheckResult(PROBLEM, f"{path}: {error.strerror}", f"ls -l {path}; id")
        return
    if not size:
        yield CheckResult(PROBLEM, f"{path} is empty", f"head -c 32 /dev/urandom | base64 > {path}")
    elif size < SECRET_BYTES_MIN:
        text = f"{path} has {size} bytes: it may be guessed; {SECRET_BYTES_MIN} or more are good"
        yield CheckResult(WARNING, text, f"head -c 32 /dev/urandom | base64 > {path}, the same on all nodes")
    else:
        yield CheckResult(OK, f"{path} is there, {size} bytes")


def _secrecy(subject: Subject, path: Path, found: os.stat_result) -> Iterator[CheckResult]:
    mode = stat.S_IMODE(found.st_mode)
    if mode & (stat.S_IRWXO | stat.S_IWGRP):
        text = f"more people than needed get at {path} (mode {mode:04o})"
        yield CheckResult(WARNING, text, f"chmod o=,g-w {path}")
    if subject.data.exists():
        owner = subject.data.stat().st_uid
        if not _readable_by(owner, found):
            group = grp.getgrgid(pwd.getpwuid(owner).pw_gid).gr_name
            text = f"{path} cannot be read by {user_name(owner)}, to whom the data belongs"
            yield CheckResult(PROBLEM, text, f"chgrp {group} {path}; chmod g+r {path}")


def _readable_by(uid: int, found: os.stat_result) -> bool:
    """By the bits of the file alone; a user that is not in the list has no groups that could be looked up."""
    if uid in (0, found.st_uid):
        return uid == 0 or bool(found.st_mode & stat.S_IRUSR)
    try:
        user = pwd.getpwuid(uid)
    except KeyError:
        return True
    if found.st_gid in os.getgrouplist(user.pw_name, user.pw_gid):
        return bool(found.st_mode & stat.S_IRGRP)
    return bool(found.st_mode & stat.S_IROTH)


# -- the disk -----------------------------------------------------------------------------------------


def space(subject: Subject) -> Iterator[CheckResult]:
    """Room for a second copy of what is there: a snapshot that arrives, or a checkpoint, is written aside."""
    path = existing(subject.data)
    found = os.statvfs(path)
    free, used = found.f_bavail * found.f_frsize, _used_bytes(subject.data)
    look = f"df -h {path}"
    text = f"{_mib(free)} MiB are free on the file system of {path}"
    text += "" if used is None else f", the node uses {_mib(used)} MiB"
    if free < FULL_SOON_BYTES:
        yield CheckResult(PROBLEM, f"{text}: a full node neither votes nor takes writes", look)
    elif free < max(DISK_FREE_BYTES, used or 0):
        yield CheckResult(WARNING, f"{text}: a snapshot may not find room", look)
    else:
        yield CheckResult(OK, text)
    if found.f_files and found.f_favail < INODES_MIN:
        yield CheckResult(PROBLEM, f"only {found.f_favail} files more can be made there", f"df -i {path}")


def _used_bytes(path: Path) -> int | None:
    """None where we may not look."""
    try:
        with os.scandir(path) as entries:
            return sum(each.stat(follow_symlinks=False).st_size for each in entries)
    except FileNotFoundError:
        return 0
    except PermissionError:
        return None


def _mib(count: int) -> int:
    return count >> 20


def sync(subject: Subject) -> Iterator[CheckResult]:
    """How long it takes to make a page durable, beside the node's files, in a file without a name."""
    path = existing(subject.data)
    try:
        times = sorted(sync_times(path))
    except OSError as error:
        command = subject.as_owner() if isinstance(error, PermissionError) else f"df -h {path}"
        yield CheckResult(WARNING, f"could not be measured in {path}: {error.strerror}", command)
        return
    median, high = statistics.median(times), times[-(-99 * len(times) // 100) - 1]
    text = f"{len(times)} syncs in {path}: median {1000 * median:.1f} ms, p99 {1000 * high:.1f} ms"
    level, reason = judged(median, high)
    busy = "iostat -x 1, and docs/runbooks.md#kraftlogfsyncslow" if reason else ""
    yield CheckResult(level, f"{text}{reason and f': {reason}'}", busy)


def judged(median: float, high: float) -> tuple[str, str]:
    """What times of a sync, in seconds, mean."""
    if high > VERY_SLOW_SECONDS:
        return PROBLEM, "followers take the leader for dead while it waits for its disk"
    if high > SLOW_SECONDS:
        return WARNING, "some writes wait noticeably"
    if median > SLOW_MEDIAN_SECONDS:
        return WARNING, "slower than a rotating disk; every write waits so long"
    return OK, ""


def sync_times(path: Path) -> list[float]:
    """Seconds of each of some writes with a sync; at least one, and no new one after `PROBE_SECONDS`."""
    times: list[float] = []
    page, end = bytes(PROBE_BYTES), time.monotonic() + PROBE_SECONDS
    with tempfile.TemporaryFile(dir=path, buffering=0) as file:
        while not times or (len(times) < SAMPLES and time.monotonic() < end):
            began = time.perf_counter()
            file.write(page)
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - began)
    return times


def existing(path: Path) -> Path:
    """The path, or what is there of it."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return path
