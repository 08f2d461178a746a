"""Notifies the service manager (systemd) about the state of a node, as in sd_notify(3).

A node is ready when its log is replayed and its ports are open. It does not wait for a leader: a cluster that
is restarted node by node would deadlock. From then on the watchdog gets its keep-alive only after a round
trip through the reactor and the writer thread, never from a timer alone, so that a node with a blocked thread
is restarted. Without a socket in the environment nothing is sent.
"""

import contextlib
import os
import socket
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Protocol

from kraft.node.ports import Cancellable, Clock
from kraft.node.status import REMOVED, Status
from kraft.telemetry.metrics.status import ROLES
from kraft.telemetry.sources import StatusSource

STATUS_SECONDS = 5.0
CHANGE_SECONDS = 0.1  # so that the events of an election are one change
REST_TIMES = 100  # the time that a status took, until the next one: with 1,000 groups it takes long
REST_SECONDS_MAX = 20.0  # of that wait: the start timeout has to be extended in time
EXTENSION_SECONDS = 60  # added to the start timeout every STATUS_SECONDS, so several may come late
KEEP_ALIVES_PER_TIMEOUT = 3  # two may come late before the watchdog fires
SEND_SECONDS = 0.5  # a full queue means that systemd itself hangs: lose the datagram, do not block the node


def in_words(status: Status) -> str:
    """One line, such as `leader of 1 group, term 7, commit 1234, 2/2 peers`, after the problem if any.

    With several groups, it shows the highest term and the sum of the commit indexes: both only grow. Of a
    node that was removed, the problem says it all.
    """
    if status.state == REMOVED and status.problem:
        return status.problem
    roles = Counter(group.role for group in status.groups)
    words = [f"{role} of {_groups(roles[role])}" for role in ROLES if roles[role]]
    if words:
        peers = [member.connected for member in status.members if member.id != status.node]
        words += [
            f"term {max(group.term for group in status.groups)}",
            f"commit {sum(group.commit for group in status.groups)}",
            f"{sum(peers)}/{len(peers)} peers",
        ]
    problem = (
        status.problem if status.problem.startswith(status.state) else f"{status.state}: {status.problem}"
    )
    return "; ".join(filter(None, (problem if status.problem else "", ", ".join(words)))) or status.state


def _groups(count: int) -> str:
    return "1 group" if count == 1 else f"{count} groups"


class NotifySocket:
    """The socket named by `NOTIFY_SOCKET`, a path or an abstract name (`@...`); false if there is none."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        name = environment.get("NOTIFY_SOCKET", "")
        self._address = "\0" + name[1:] if name.startswith("@") else name

    def __bool__(self) -> bool:
        return self._address.startswith(("/", "\0"))

    def send(self, *facts: str) -> None:
        """Send one datagram of `NAME=value` lines. Errors are ignored."""
        if not self:
            return
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
            out.settimeout(SEND_SECONDS)
            out.sendto("\n".join(facts).encode(), self._address)


def watchdog_seconds(environment: Mapping[str, str], pid: int) -> float:
    """The watchdog timeout of the service manager for process `pid`, in seconds; 0.0 without a watchdog."""
    usec = environment.get("WATCHDOG_USEC", "")
    of = environment.get("WATCHDOG_PID", "") or str(pid)
    return int(usec) / 1e6 if usec.isdecimal() and of == str(pid) else 0.0


class WriterThread(Protocol):
    """The thread that writes to the data directory."""

    def ping(self, done: Callable[[], None]) -> None:
        """Call `done` in the reactor after everything that the thread has been given so far is done."""


class Notifier:
    """Notifies the service manager about one node, from its start to its end."""

    def __init__(self, environment: Mapping[str, str], clock: Clock) -> None:
        self._socket = NotifySocket(environment)
        self._clock = clock
        self._keep_alive_seconds = watchdog_seconds(environment, os.getpid()) / KEEP_ALIVES_PER_TIMEOUT
        self._node: StatusSource | None = None
        self._writer: WriterThread | None = None
        self._ready = False
        self._progress = ""  # of what takes long at the start
        self._pinging = False  # the writer thread has not answered yet
        self._took = 0.0  # seconds, of the last status
        self._pending: dict[str, Cancellable] = {}

    def opening(self) -> None:
        """The data directory is being opened; the reactor does not run yet."""
        self._socket.send("STATUS=reading the data directory")

    def progressed(self, progress: str) -> None:
        """The state is being loaded or the log replayed: `progress` in words."""
        if not self._ready:
            self._progress = progress
            self._socket.send(f"STATUS={progress}", f"EXTEND_TIMEOUT_USEC={EXTENSION_SECONDS * 1_000_000}")

    def replaying(self, node: StatusSource) -> None:
        """The log is being replayed. From now on the status of `node` is sent at intervals."""
        self._node = node
        if self._socket:
            self._send_status()

    def ready(self, writer: WriterThread) -> None:
        """The ports are open. From now on the keep-alives of the watchdog depend on `writer`."""
        self._writer = writer
        self._ready = True
        self._socket.send("READY=1", *self._status_line())
        if self._socket and self._keep_alive_seconds:
            self._keep_alive()

    def changed(self) -> None:
        """The state of the node has changed: send it soon, and not only with the next interval."""
        if self._socket and self._node is not None and "change" not in self._pending:
            self._schedule("change", self._at_least(CHANGE_SECONDS), self._send_change)

    def reloading(self) -> None:
        """The configuration is being reloaded; `reloaded` must follow."""
        if self._ready:
            self._socket.send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def reloaded(self) -> None:
        """The reload is over, whatever its outcome."""
        if self._ready:
            self._socket.send("READY=1", *self._status_line())

    def stopping(self) -> None:
        """The node is stopping. The service manager enforces its own stop timeout."""
        self._cancel_pending()
        self._socket.send("STOPPING=1", "STATUS=transferring leadership, then closing")

    def failed(self, reason: str) -> None:
        """The process ends with an error. Sends the last line of `reason`: in a traceback, the error."""
        self._cancel_pending()
        self._socket.send("STATUS=failed: " + (reason.strip().splitlines() or [""])[-1])

    def _cancel_pending(self) -> None:
        self._ready = False
        for pending in self._pending.values():
            pending.cancel()
        self._pending.clear()

    def _status_line(self) -> tuple[str, ...]:
        if self._progress and not self._ready:
            return (f"STATUS={self._progress}",)
        if self._node is None:
            return ()
        begun = self._clock.seconds()
        words = in_words(self._node.status())
        self._took = self._clock.seconds() - begun
        return ("STATUS=" + words,)

    def _at_least(self, seconds: float) -> float:
        """How long to wait for the next status, so that all of them take little of a core."""
        return max(seconds, min(REST_SECONDS_MAX, REST_TIMES * self._took))

    def _send_status(self) -> None:
        self._schedule("status", self._at_least(STATUS_SECONDS), self._send_status)
        extension = () if self._ready else (f"EXTEND_TIMEOUT_USEC={EXTENSION_SECONDS * 1_000_000}",)
        self._socket.send(*self._status_line(), *extension)

    def _send_change(self) -> None:
        del self._pending["change"]
        self._socket.send(*self._status_line())

    def _keep_alive(self) -> None:
        self._schedule("watchdog", self._keep_alive_seconds, self._keep_alive)
        if self._writer is not None and not self._pinging:
            self._pinging = True
            self._writer.ping(self._ping_answered)

    def _ping_answered(self) -> None:
        self._pinging = False
        if self._ready:
            self._socket.send("WATCHDOG=1")

    def _schedule(self, name: str, seconds: float, call: Callable[[], None]) -> None:
        self._pending[name] = self._clock.call_later(seconds, call)
