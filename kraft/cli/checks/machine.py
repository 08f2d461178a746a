"""Checks of the machine: its Python, its clock, its memory, and how many files a process may open."""

import ctypes
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from kraft.cli.checks.result import OK, PROBLEM, WARNING, CheckResult
from kraft.cli.checks.subject import Subject
from kraft.process.memory_limit import memory_limits
from kraft.process.open_files import FILES_MIN, files_for_clients, reserved_files
from kraft.process.python_build import OPTIMISED, python_build
from kraft.web import overview
from kraft.web.findings import diagnose

SMALL_MEMORY_BYTES = 200 << 20  # the program takes 55 MiB, and the log's tail with all queues 64 MiB
CLOCK_SET_AFTER = 1_735_689_600  # 2025: kraft is younger, so an earlier time means that the clock was not set
_TIMEX_BYTES = 512  # enough for struct timex on any machine
_STATUS_AT = 5 * ctypes.sizeof(ctypes.c_long)  # after `modes`, padded, and four longs
_UNSYNCHRONISED = 0x40  # STA_UNSYNC


def python(subject: Subject) -> Iterator[CheckResult]:
    """Whether the interpreter is an optimised build. A node's is known only if it is this command's."""
    own, build = Path(sys.executable).resolve(), python_build()
    used = _program_of(subject.pid) if subject.pid else None
    if used not in (None, own):
        yield CheckResult(
            OK, f"process {subject.pid} runs {used}, whose build is unknown here: this is {own}"
        )
    elif build.kind == OPTIMISED:
        yield CheckResult(OK, f"{build}: {own}")
    else:
        text = f"{build}: {own}. A node is up to 1.4 times faster on an optimised build"
        yield CheckResult(WARNING, text, "make clean demo, or docs/performance.md#the-interpreter")


def clock(subject: Subject) -> Iterator[CheckResult]:
    """Whether the clock is set, synchronised, and near the clocks of the others: expiry depends on it."""
    yield from own_clock(time.time(), synchronised())
    if subject.view is None:
        return
    far = [found for found in diagnose(subject.view).findings if found.topic == "clock"]
    for found in far:
        yield CheckResult(WARNING, f"{found.subject}: {found.text}", found.next)
    leader = overview.leader(subject.view, 0)
    if leader is not None and leader.replicas and not far:
        most = max(abs(replica.clock_offset_ms) for replica in leader.replicas)
        yield CheckResult(OK, f"the clocks of the nodes differ from the leader's by at most {most} ms")


def own_clock(now: float, kept: bool | None) -> Iterator[CheckResult]:
    """`now` is this machine's Unix time; `kept` is whether it is synchronised, None if unknown."""
    if now < CLOCK_SET_AFTER:
        text = f"is not set: this machine's date is {time.strftime('%Y-%m-%d', time.gmtime(now))}"
        yield CheckResult(PROBLEM, text, "timedatectl set-ntp true")
    elif kept is None:
        yield CheckResult(OK, "is set; whether it is synchronised is unknown here", "timedatectl")
    elif not kept:
        text = "is not synchronised, according to the kernel"
        yield CheckResult(WARNING, text, "timedatectl; timedatectl set-ntp true")
    else:
        yield CheckResult(OK, "is set and synchronised")


def synchronised() -> bool | None:
    """Whether the kernel's clock is synchronised, according to adjtimex(2); None if unknown."""
    buffer = ctypes.create_string_buffer(_TIMEX_BYTES)
    try:
        if ctypes.CDLL(None).adjtimex(buffer) < 0:
            return None
    except (AttributeError, OSError):
        return None
    status = ctypes.c_int.from_buffer(buffer, _STATUS_AT).value
    return not status & _UNSYNCHRONISED


def files(subject: Subject) -> Iterator[CheckResult]:
    """Whether the process may open a file for every client that the configuration admits."""
    wanted = subject.config.limits.connections
    groups = subject.config.cluster.groups if subject.view is None else len(subject.view.replicas)
    need = wanted + reserved_files(groups)
    limit = _of_process(subject.pid) if subject.pid else None
    whose = f"process {subject.pid}"
    if limit is None:  # a node raises its own limit to the hard one when it starts
        limit, whose = resource.getrlimit(resource.RLIMIT_NOFILE)[1], "a process started from here"
    text = f"{whose} may open {'any number of' if limit < 0 else limit} files"
    command = f"systemctl edit {subject.unit}: LimitNOFILE={need}; or ulimit -Hn {need} before a start"
    if 0 <= limit < FILES_MIN:
        yield CheckResult(PROBLEM, f"{text}: a node needs {FILES_MIN} or more to start", command)
    elif limit >= 0 and files_for_clients(limit, groups) < wanted:
        admitted = f"it admits {files_for_clients(limit, groups)} clients, not limits.connections ({wanted})"
        yield CheckResult(WARNING, f"{text}: {admitted}", command)
    else:
        yield CheckResult(OK, f"{text}; it needs at most {need}")


def memory(subject: Subject) -> Iterator[CheckResult]:
    """How much memory the node may use, and how much of that is left for data."""
    facts = None if subject.view is None else subject.view.own.facts
    if facts is not None and facts.memory_limit:
        text = (
            f"the node may use {facts.memory_limit >> 20} MiB, {facts.dataset_bytes_max >> 20} MiB for data"
        )
        limit = facts.memory_limit
    else:
        tightest = memory_limits()[0]
        text = f"a process started from here may use {tightest.size >> 20} MiB ({tightest.source})"
        limit = tightest.size
    if limit < SMALL_MEMORY_BYTES:
        command = f"systemctl edit {subject.unit}: MemoryMax={SMALL_MEMORY_BYTES >> 20}M or more"
        yield CheckResult(WARNING, f"{text}: little is left beside the program", command)
    else:
        yield CheckResult(OK, text)


def _program_of(pid: int) -> Path | None:
    """The program that a process runs; None if this user may not see it."""
    try:
        return Path(f"/proc/{pid}/exe").readlink()
    except OSError:
        return None


def _of_process(pid: int) -> int | None:
    """The limit of open files of a process, -1 for no limit; None if it cannot be read."""
    try:
        for line in Path(f"/proc/{pid}/limits").read_text().splitlines():
            if line.startswith("Max open files"):
                soft = line.split()[3]
                return -1 if soft == "unlimited" else int(soft)
    except OSError:
        pass
    return None
