"""What a service manager hears of a node: the datagrams of sd_notify(3), to the socket it names.

The node is ready when its log is replayed and its ports are open, not when there is a leader: a cluster that
is restarted node by node would wait for itself. From then on the watchdog is fed by answers, never by a timer
alone: the reactor asks the writer thread, the answer comes back through the reactor, and only then a sign of
life goes out. Without a socket in the environment nothing here does anything.
"""

import contextlib
import os
import socket
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from kraft.telemetry.metrics.status import ROLES
from kraft.telemetry.probe import Cancellable, Clock

STATUS_SECONDS = 5.0
EXTENSION_SECONDS = 60  # that a start under way may take from each extension on: a dozen of them may be late
SIGNS_PER_TIMEOUT = 3  # two signs of life may be late before the service manager loses patience
SEND_SECONDS = 0.5  # the manager's queue is full only when it hangs itself: then a line is lost, not the node


class GroupStatus(Protocol):
    """One group's replica on this node; see `host.status`."""

    @property
    def role(self) -> str: ...
    @property
    def term(self) -> int: ...
    @property
    def commit(self) -> int: ...


class MemberStatus(Protocol):
    """One member, this node included."""

    @property
    def id(self) -> str: ...
    @property
    def connected(self) -> bool: ...


class Status(Protocol):
    """A node at one moment."""

    @property
    def node(self) -> str: ...
    @property
    def state(self) -> str: ...
    @property
    def problem(self) -> str: ...
    @property
    def members(self) -> Sequence[MemberStatus]: ...
    @property
    def groups(self) -> Sequence[GroupStatus]: ...


def in_words(status: Status) -> str:
    """One line, such as `leader of 1 group, term 7, commit 1234, 2/2 peers`; a problem comes first.

    With several groups, the term is the highest and the commit index their sum: both only ever grow.
    """
    roles = Counter(group.role for group in status.groups)
    words = [f"{role} of {_groups(roles[role])}" for role in ROLES if roles[role]]
    if words:
        peers = [member.connected for member in status.members if member.id != status.node]
        words += [
            f"term {max(group.term for group in status.groups)}",
            f"commit {sum(group.commit for group in status.groups)}",
            f"{sum(peers)}/{len(peers)} peers",
        ]
    facts = ", ".join(words)
    return "; ".join(filter(None, (status.problem, facts))) or status.state


def _groups(count: int) -> str:
    return "1 group" if count == 1 else f"{count} groups"


class NotifySocket:
    """The socket in `NOTIFY_SOCKET`, a path or an abstract name (`@...`); false when there is none."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        name = environment.get("NOTIFY_SOCKET", "")
        self._address = "\0" + name[1:] if name.startswith("@") else name

    def __bool__(self) -> bool:
        return self._address.startswith(("/", "\0"))

    def send(self, *facts: str) -> None:
        """One datagram of `NAME=value` lines, or nothing when nobody takes it."""
        if not self:
            return
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
            out.settimeout(SEND_SECONDS)
            out.sendto("\n".join(facts).encode(), self._address)


def watchdog_seconds(environment: Mapping[str, str], pid: int) -> float:
    """Within which time the service manager wants a sign of life from process `pid`; 0.0: it wants none."""
    usec = environment.get("WATCHDOG_USEC", "")
    of = environment.get("WATCHDOG_PID", "") or str(pid)
    return int(usec) / 1e6 if usec.isdecimal() and of == str(pid) else 0.0


class Supervision:
    """What one node tells its service manager, in the order of its life."""

    def __init__(self, environment: Mapping[str, str], clock: Clock) -> None:
        self._socket = NotifySocket(environment)
        self._clock = clock
        self._sign_seconds = watchdog_seconds(environment, os.getpid()) / SIGNS_PER_TIMEOUT
        self._status: Callable[[], Status] | None = None
        self._ping: Callable[[Callable[[], None]], None] | None = None
        self._ready = False
        self._asked = False  # the writer thread, which has not answered yet
        self._pending: dict[str, Cancellable] = {}

    def opening(self) -> None:
        """The data directory is being read; the reactor does not run yet."""
        self._socket.send("STATUS=reading the data directory")

    def replaying(self, status: Callable[[], Status]) -> None:
        """The log is being replayed; `status` is asked from now on."""
        self._status = status
        if self._socket:
            self._tell_status()

    def ready(self, ping: Callable[[Callable[[], None]], None]) -> None:
        """The ports are open; `ping` asks the writer thread for a sign of life (`Store.ping`)."""
        self._ping = ping
        self._ready = True
        self._socket.send("READY=1", *self._words())
        if self._socket and self._sign_seconds:
            self._ask()

    def reloading(self) -> None:
        """The configuration is being read again; `reloaded` must follow."""
        if self._ready:
            self._socket.send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def reloaded(self) -> None:
        """It was, with whatever outcome: the node runs on."""
        if self._ready:
            self._socket.send("READY=1", *self._words())

    def stopping(self) -> None:
        """An orderly end began; the time for it is the service manager's to watch."""
        self._silence()
        self._socket.send("STOPPING=1", "STATUS=handing leadership over, then closing")

    def failed(self, reason: str) -> None:
        """The last words before the process ends by itself; of a traceback its last line, which says what."""
        self._silence()
        self._socket.send("STATUS=failed: " + (reason.strip().splitlines() or [""])[-1])

    def _silence(self) -> None:
        self._ready = False
        for pending in self._pending.values():
            pending.cancel()
        self._pending.clear()

    def _words(self) -> tuple[str, ...]:
        return () if self._status is None else ("STATUS=" + in_words(self._status()),)

    def _tell_status(self) -> None:
        self._later("status", STATUS_SECONDS, self._tell_status)
        longer = () if self._ready else (f"EXTEND_TIMEOUT_USEC={EXTENSION_SECONDS * 1_000_000}",)
        self._socket.send(*self._words(), *longer)

    def _ask(self) -> None:
        self._later("watchdog", self._sign_seconds, self._ask)
        if self._ping is not None and not self._asked:
            self._asked = True
            self._ping(self._answered)

    def _answered(self) -> None:
        self._asked = False
        if self._ready:
            self._socket.send("WATCHDOG=1")

    def _later(self, what: str, seconds: float, call: Callable[[], None]) -> None:
        self._pending[what] = self._clock.call_later(seconds, call)
