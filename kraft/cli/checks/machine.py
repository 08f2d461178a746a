"""The machine around the node: its clock, and how many files a process may open."""

import ctypes
import resource
import time
from collections.abc import Iterator
from pathlib import Path

from kraft.cli.checks.result import OK, PROBLEM, WARNING, CheckResult
from kraft.cli.checks.subject import Subject
from kraft.web import overview
from kraft.web.findings import diagnose

FILES_BESIDE_CLIENTS = 128  # HTTP (64), links to peers and those in handshake, databases, log, interpreter
CLOCK_SET_AFTER = 1_735_689_600  # 2025: kraft is younger, so an earlier time is that of a clock never set
_TIMEX_BYTES = 512  # room for struct timex of any machine
_STATUS_AT = 5 * ctypes.sizeof(ctypes.c_long)  # behind `modes`, padded, and four longs
_UNSYNCHRONISED = 0x40  # STA_UNSYNC


def clock(subject: Subject) -> Iterator[CheckResult]:
    """Set, kept right by somebody, and near the others': when a key expires depends on it."""
    yield from own_clock(time.time(), synchronised())
    if subject.view is None:
        return
    far = [found for found in diagnose(subject.view).findings if found.topic == "clock"]
    for found in far:
        yield CheckResult(WARNING, f"{found.subject}: {found.text}", found.command)
    leader = overview.leader(subject.view, 0)
    if leader is not None and leader.replicas and not far:
        most = max(abs(replica.clock_offset_ms) for replica in leader.replicas)
        yield CheckResult(OK, f"the clocks of the nodes are at most {most} ms from the leader's")


def own_clock(now: float, kept: bool | None) -> Iterator[CheckResult]:
    """`now` is this machine's Unix time; `kept` whether something sets it right, None when unknown."""
    if now < CLOCK_SET_AFTER:
        text = f"was never set: it is {time.strftime('%Y-%m-%d', time.gmtime(now))} here"
        yield CheckResult(PROBLEM, text, "timedatectl set-ntp true")
    elif kept is None:
        yield CheckResult(OK, "is set; whether something keeps it right cannot be told here", "timedatectl")
    elif not kept:
        text = "the kernel says that nothing keeps it right"
        yield CheckResult(WARNING, text, "timedatectl; timedatectl set-ntp true")
    else:
        yield CheckResult(OK, "is set, and kept right")


def synchronised() -> bool | None:
    """Whether the kernel's clock is disciplined (adjtimex(2), which only reads here); None when unknown."""
    buffer = ctypes.create_string_buffer(_TIMEX_BYTES)
    try:
        if ctypes.CDLL(None).adjtimex(buffer) < 0:
            return None
    except (AttributeError, OSError):
        return None
    status = ctypes.c_int.from_buffer(buffer, _STATUS_AT).value
    return not status & _UNSYNCHRONISED


def files(subject: Subject) -> Iterator[CheckResult]:
    """Room for every client that the configuration admits."""
    need = subject.config.limits.connections + FILES_BESIDE_CLIENTS
    soft = _of_process(subject.pid) if subject.pid else None
    whose = f"process {subject.pid}"
    if soft is None:
        soft, whose = resource.getrlimit(resource.RLIMIT_NOFILE)[0], "a process started here"
    text = f"{whose} may open {'any number of' if soft < 0 else soft} files"
    if 0 <= soft < need:
        reason = f"limits.connections ({subject.config.limits.connections}) and {FILES_BESIDE_CLIENTS} more"
        command = f"systemctl edit {subject.unit}: LimitNOFILE={need}; or ulimit -n {need} before a start"
        yield CheckResult(WARNING, f"{text}, too few for {reason}", command)
    else:
        yield CheckResult(OK, f"{text}, {need} are needed at most")


def _of_process(pid: int) -> int | None:
    """Its soft limit, -1 for none; None when it cannot be read."""
    try:
        for line in Path(f"/proc/{pid}/limits").read_text().splitlines():
            if line.startswith("Max open files"):
                soft = line.split()[3]
                return -1 if soft == "unlimited" else int(soft)
    except OSError:
        pass
    return None
