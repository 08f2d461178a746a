"""Checks of the node's files: its directory, its secret, and the disk. Opens no file of a running node."""

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
from kraft.cli.checks.subject import Subject, mine
from kraft.storage.access import mend_mode, node_files, owner_lacks, user_name, wrong_kind
from kraft.storage.errors import Damaged, DirectoryLocked, StorageError
from kraft.storage.offline.inspection import Inspection, inspect
from kraft.storage.ports import StorageSettings
from kraft.web.findings import DISK_FREE_BYTES

SECRET_BYTES_MIN = 16  # 128 bits, if they are random
FULL_SOON_BYTES = 2 * StorageSettings().wal_bytes_max  # the WAL may grow to its limit, and is then copied
INODES_MIN = 100  # a node makes a handful of files; the rest is for other users of the file system
SAMPLES, PROBE_SECONDS = 50, 3.0  # about two seconds on a slow disk, a fraction of one on a good one
PROBE_BYTES = 4096  # a page: the least that a commit writes
SLOW_MEDIAN_SECONDS = 0.025  # a rotating disk takes half of that; every write waits for one sync
SLOW_SECONDS, VERY_SLOW_SECONDS = 0.1, 0.5  # as in the alerts KraftLogFsyncSlow and KraftLogFsyncVerySlow


# -- the directory ------------------------------------------------------------------------------------


def directory(subject: Subject) -> Iterator[CheckResult]:
    """Owner, mode and lock; if the node is stopped, also whether the log has lost its end."""
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
        text = f"{path} belongs to {owner}, but {', '.join(strangers)} in it to another user"
        yield CheckResult(PROBLEM, text, f"chown -R {owner}: {path}")
    if found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        text = f"other users than {owner} can access {path} (mode {stat.S_IMODE(found.st_mode):04o})"
        yield CheckResult(WARNING, text, f"chmod 700 {path}")
    yield from _unusable(path, found)
    if subject.running:
        yield CheckResult(OK, f"{path} belongs to {owner} and is locked by {_process(subject)}")
    elif not mine(path):
        yield CheckResult(
            OK, f"{path} belongs to {owner}, and only that user may open it", subject.as_owner()
        )
    else:
        yield from _inside(subject, path)


def _missing(path: Path) -> CheckResult:
    above = existing(path)
    if os.access(above, os.W_OK | os.X_OK):
        return CheckResult(OK, f"node.data {path} does not exist yet: the first start creates it")
    text = f"node.data {path} does not exist, and {user_name(os.geteuid())} may not create it in {above}"
    return CheckResult(PROBLEM, text, f"install -d -m 700 -o USER {path}")


def _unusable(path: Path, found: os.stat_result) -> Iterator[CheckResult]:
    """What keeps the owner from the directory and the files in it."""
    if found.st_mode & stat.S_IRWXU != stat.S_IRWXU:
        text = f"its owner may not use {path} (mode {stat.S_IMODE(found.st_mode):04o})"
        yield CheckResult(PROBLEM, text, mend_mode(path, stat.S_IRWXU))
    if os.statvfs(path).f_flag & os.ST_RDONLY:
        yield CheckResult(PROBLEM, f"the file system of {path} is mounted read-only", f"findmnt -T {path}")
    for file in node_files(str(path)):
        try:
            its = file.stat()
        except OSError as error:
            yield CheckResult(PROBLEM, f"{file}: {error.strerror}", f"ls -l {file}")
            continue
        if kind := wrong_kind(file, its):
            yield CheckResult(PROBLEM, kind, f"ls -ld {file}")
        elif owner_lacks(its):
            text = f"its owner may not read and write {file} (mode {stat.S_IMODE(its.st_mode):04o})"
            yield CheckResult(PROBLEM, text, mend_mode(file))


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
    except Damaged as error:
        again = f"KRAFT REPLACE {subject.id} ID HOST PORT, on a running node (docs/recovery.md)"
        yield CheckResult(PROBLEM, str(error), again)
    except StorageError as error:
        yield CheckResult(PROBLEM, str(error), f"ls -la {path}")
    else:
        yield from _content(subject, path, found)


def _content(subject: Subject, path: Path, found: Inspection | None) -> Iterator[CheckResult]:
    if found is None:
        yield CheckResult(OK, f"{path} has no files of a node yet: the first start creates them")
        return
    if found.node != subject.id:
        text = f"{path} has the data of node {found.node}, but the configuration is that of {subject.id}"
        yield CheckResult(PROBLEM, text, f"grep -nA3 ^node: {subject.file}")
    for group in sorted(found.fenced):
        text = f"the data of group {group} here is known to be wrong: start the node, then replace the data"
        yield CheckResult(PROBLEM, text, f"KRAFT RESEED {found.node}")
    ends = ", ".join(f"group {group} ends at index {last}" for group, last in found.last.items())
    known = f"cluster {found.cluster[:12]}" if found.cluster else "no cluster yet"
    yield CheckResult(OK, f"{path} has the data of {found.node}, {known}{ends and f'; the log of {ends}'}")


# -- the secret ---------------------------------------------------------------------------------------


def secret(subject: Subject) -> Iterator[CheckResult]:
    """Whether the secret exists, is long enough, and is readable by the node only."""
    name = subject.config.cluster.secret_file
    if name is None:
        yield CheckResult(OK, "not needed: all peers are on this machine")
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
        text = f"{path} has only {size} bytes and could be guessed; use at least {SECRET_BYTES_MIN}"
        yield CheckResult(WARNING, text, f"head -c 32 /dev/urandom | base64 > {path}, the same on all nodes")
    else:
        yield CheckResult(OK, f"{path} exists, {size} bytes")


def _secrecy(subject: Subject, path: Path, found: os.stat_result) -> Iterator[CheckResult]:
    mode = stat.S_IMODE(found.st_mode)
    if mode & (stat.S_IRWXO | stat.S_IWGRP):
        text = f"more users than necessary can access {path} (mode {mode:04o})"
        yield CheckResult(WARNING, text, f"chmod o=,g-w {path}")
    if subject.data.exists():
        owner = subject.data.stat().st_uid
        if not _readable_by(owner, found):
            group = grp.getgrgid(pwd.getpwuid(owner).pw_gid).gr_name
            text = f"{path} cannot be read by {user_name(owner)}, the owner of the data"
            yield CheckResult(PROBLEM, text, f"chgrp {group} {path}; chmod g+r {path}")


def _readable_by(uid: int, found: os.stat_result) -> bool:
    """Whether the mode of the file lets `uid` read it; true for a user that the system does not know."""
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
    """Whether a second copy of the data fits: a received snapshot and a checkpoint are written beside it."""
    path = existing(subject.data)
    found = os.statvfs(path)
    free, used = found.f_bavail * found.f_frsize, _used_bytes(subject.data)
    look = f"df -h {path}"
    text = f"{_mib(free)} MiB are free on the file system of {path}"
    text += "" if used is None else f"; the node uses {_mib(used)} MiB"
    if free < FULL_SOON_BYTES:
        yield CheckResult(
            PROBLEM, f"{text}: a node with a full disk does not vote and accepts no writes", look
        )
    elif free < max(DISK_FREE_BYTES, used or 0):
        yield CheckResult(WARNING, f"{text}: a snapshot may not fit", look)
    else:
        yield CheckResult(OK, text)
    if found.f_files and found.f_favail < INODES_MIN:
        yield CheckResult(PROBLEM, f"only {found.f_favail} more files can be created there", f"df -i {path}")


def _used_bytes(path: Path) -> int | None:
    """The size of the node's files; None if the directory may not be read."""
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
    """How long it takes to make a page durable, in an unnamed file beside the node's files."""
    path = existing(subject.data)
    try:
        times = sorted(sync_times(path))
    except OSError as error:
        command = subject.as_owner() if isinstance(error, PermissionError) else f"df -h {path}"
        yield CheckResult(WARNING, f"cannot be measured in {path}: {error.strerror}", command)
        return
    median, high = statistics.median(times), times[-(-99 * len(times) // 100) - 1]
    text = f"{len(times)} syncs in {path}: median {1000 * median:.1f} ms, p99 {1000 * high:.1f} ms"
    level, reason = judged(median, high)
    busy = "iostat -x 1, and docs/runbooks.md#kraftlogfsyncslow" if reason else ""
    yield CheckResult(level, f"{text}{reason and f': {reason}'}", busy)


def judged(median: float, high: float) -> tuple[str, str]:
    """The level and the meaning of a median and a p99 of syncs, in seconds."""
    if high > VERY_SLOW_SECONDS:
        return PROBLEM, "followers assume that the leader is down while it waits for its disk"
    if high > SLOW_SECONDS:
        return WARNING, "some writes are noticeably slow"
    if median > SLOW_MEDIAN_SECONDS:
        return WARNING, "slower than a rotating disk; every write waits for one sync"
    return OK, ""


def sync_times(path: Path) -> list[float]:
    """Seconds of each of up to `SAMPLES` writes with a sync, at least one, within `PROBE_SECONDS`."""
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
    """The path, or its closest ancestor that exists."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return path
