"""Starts nodes as forks of a process that has imported their code, which is most of the work of a start.

    tests  -- arguments, folder, environment; output, report -->  fork server  -- fork -->  node
    tests  <-- process id ---------------------------------------      |
    tests  <-- exit status, to the report of that node -----------------  once the node has ended

Run as a program, this module is the fork server: it has no threads, no reactor, and nothing of the tests.
A node that it forks runs `twistd` with its own arguments. What the loader and the interpreter read from the
environment before they run anything cannot be given to a fork, nor can the namespace of the network that a
test has entered: `can_start` says whether they are the same.
"""

import atexit
import gc
import importlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import IO

PRELOADED = ("twisted.scripts.twistd", "twisted.plugins.kraft_plugin", "kraft.tap", "kraft.process.reactor")
READ_BEFORE = ("LD_", "PYTHON", "MALLOC_", "GLIBC_")  # names of variables that begin so
NAMESPACES = ("net", "mnt")  # that a test may have entered
REQUEST_BYTES_MAX = 1 << 17


class ForkedProcess:
    """A node that was forked, with the methods of `subprocess.Popen` that tests use."""

    def __init__(self, pid: int, report: socket.socket) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._report = report  # receives the exit status, as text
        self._lock = threading.Lock()

    def poll(self) -> int | None:
        """The exit status, negative for a signal; None while it runs."""
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def wait(self, timeout: float | None = None) -> int:
        """The exit status, once it has ended. Raises subprocess.TimeoutExpired after `timeout` seconds."""
        try:
            if not self._lock.acquire(timeout=-1 if timeout is None else timeout):
                raise TimeoutError
            try:
                if self.returncode is None:
                    self._report.settimeout(timeout)
                    self.returncode = self._receive()
            finally:
                self._lock.release()
        except (TimeoutError, BlockingIOError):
            raise subprocess.TimeoutExpired("twistd", timeout or 0) from None
        return self.returncode

    def _receive(self) -> int:
        status = self._report.recv(16)
        self._report.close()
        assert status, "the fork server has ended"
        return int(status)

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):  # its end was not reported yet
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)


class ForkServer:
    """The process that forks the nodes of one worker of pytest, and ends with it."""

    def __init__(self) -> None:
        self._read_before = _read_before(os.environ)
        self._namespaces = _namespaces()
        self._lock = threading.Lock()
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            # -P: an import finds what is installed, as with the program twistd, not what is beside this file.
            command = [sys.executable, "-P", __file__, str(theirs.fileno())]
            null = subprocess.DEVNULL
            self._process = subprocess.Popen(command, stdin=null, stdout=null, pass_fds=[theirs.fileno()])
        atexit.register(self._close)

    def can_start(self, environment: Mapping[str, str]) -> bool:
        """Whether a fork is the same as a process that the caller starts with this environment."""
        return _read_before(environment) == self._read_before and _namespaces() == self._namespaces

    def start(
        self, arguments: Sequence[str], folder: Path, environment: Mapping[str, str], output: IO[bytes]
    ) -> ForkedProcess:
        """Fork a node. `arguments` begin with the path of twistd."""
        report, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        request = json.dumps([list(arguments), str(folder), dict(environment)]).encode()
        with theirs, self._lock:
            socket.send_fds(self._channel, [request], [output.fileno(), theirs.fileno()])
            pid = self._channel.recv(16)
        assert pid, "the fork server has ended"
        return ForkedProcess(int(pid), report)

    def _close(self) -> None:
        self._channel.close()
        self._process.wait()


@cache
def fork_server() -> ForkServer:
    """The one of this worker."""
    return ForkServer()


def _read_before(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(READ_BEFORE)}


def _namespaces() -> list[str]:
    return [str(Path(f"/proc/thread-self/ns/{kind}").readlink()) for kind in NAMESPACES]


class _Children:
    """The nodes that were forked and have not ended: process id and report of each, by pidfd."""

    def __init__(self) -> None:
        self.running: dict[int, tuple[int, socket.socket]] = {}

    def reap(self, pidfd: int) -> None:
        """Tell the end of the node with this pidfd."""
        pid, report = self.running.pop(pidfd)
        os.close(pidfd)
        _, status = os.waitpid(pid, 0)
        with report, suppress(OSError):  # the test may not wait for it
            report.send(str(os.waitstatus_to_exitcode(status)).encode())

    def forget(self) -> None:
        """In a new child: the others are its parent's."""
        for pidfd, (_, report) in self.running.items():
            os.close(pidfd)
            report.close()


def _serve(channel: socket.socket) -> None:
    """Fork a node for each request, until the worker has ended."""
    children = _Children()
    selector = selectors.DefaultSelector()
    selector.register(channel, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.fileobj is not channel:
                selector.unregister(key.fileobj)
                children.reap(key.fd)
                continue
            request, fds, _, _ = socket.recv_fds(channel, REQUEST_BYTES_MAX, 2)
            if not request:
                return
            output, report = fds[0], socket.socket(fileno=fds[1])
            pid = os.fork()
            if pid == 0:
                for each in (selector, channel, report):
                    each.close()
                children.forget()
                arguments, folder, environment = json.loads(request)
                _run_node(arguments, folder, environment, output)
            os.close(output)
            pidfd = os.pidfd_open(pid)
            children.running[pidfd] = (pid, report)
            selector.register(pidfd, selectors.EVENT_READ)
            channel.send(str(pid).encode())


def _run_node(arguments: list[str], folder: str, environment: dict[str, str], output: int) -> None:
    """Be `twistd`, until it ends the process."""
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = arguments
    from twisted.scripts.twistd import run

    sys.exit(run())


def main() -> None:
    """Be the fork server. The only argument is the descriptor of its channel."""
    for module in PRELOADED:
        importlib.import_module(module)
    assert "twisted.internet.reactor" not in sys.modules, "each node chooses its own"
    gc.collect()
    gc.freeze()  # so that no collection in a child copies what all share
    _serve(socket.socket(fileno=int(sys.argv[1])))


if __name__ == "__main__":
    main()
