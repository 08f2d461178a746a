"""`redis-benchmark --cluster` under faults.

It ends when it loses a connection that it reads. One that it loses just before it writes a request is another
matter: `cliWriteConn` says EAGAIN of every write that fails, and `writeHandler` tries again for ever (redis
7.0, src/cli_common.c and src/redis-benchmark.c). It happens to a thread that sleeps for a second over
CLUSTERDOWN, or fetches the slots, while its node is killed. The request has been issued and is never done, so
that the other threads, which may issue no more, turn round with nothing to read. No server can end this.
"""

import contextlib
import itertools
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from tests.cluster.harness import Server, crowding

LOADS = ("-t", "set,get,incr", "-n", "500", "-c", "6", "-q")
ANSWER_SECONDS = 120.0
LOOK_SECONDS = 1.0
LOOKS = 5  # in a row; a program that works is there only between an answer and the next request
ENDED = -9  # the status of a program that was ended because it awaited no answer
EPOLLIN = 0x1  # Linux; the `select` module has it on no other system
OPEN = ("01", "02")  # the states ESTABLISHED and SYN-SENT in /proc/net/tcp


def awaited(pid: int) -> set[int]:
    """The ports of the servers from which a process awaits bytes, over TCP and IPv4.

    It awaits none on a connection that its epoll has for writing only, that has bytes which it has not read
    yet, or that is lost. A connection that is in no epoll is one that a thread reads by itself.
    Errors: `OSError` if a descriptor is closed meanwhile.
    """
    folder, polled = Path(f"/proc/{pid}"), {}
    links = {str(link.readlink()): link.name for link in folder.glob("fd/*")}
    for info in folder.glob("fdinfo/*"):
        for words in map(str.split, info.read_text().splitlines()):
            if words[0] == "tfd:":  # tfd: DESCRIPTOR events: HEX ...
                polled[words[1]] = int(words[3], 16)
    ports = set()
    for line in (folder / "net/tcp").read_text().splitlines()[1:]:
        _, _, server, state, queues, _, _, _, _, inode, *_ = line.split()
        name = links.get(f"socket:[{inode}]")
        silent = state in OPEN and queues.endswith(":00000000")
        if name is not None and silent and polled.get(name, EPOLLIN) & EPOLLIN:
            ports.add(int(server.rpartition(":")[2], 16))
    return ports


def benchmark(command: Sequence[str | int]) -> subprocess.CompletedProcess[str]:
    """Run it to its end, or until it has awaited no answer at LOOKS looks in a row: status ENDED.

    Errors: `TimeoutError` after ANSWER_SECONDS, longer on a crowded machine. A server owes an answer then.
    """
    words = [str(word) for word in command]
    end = time.monotonic() + ANSWER_SECONDS * crowding()
    with (
        tempfile.TemporaryFile("w+") as told,
        subprocess.Popen(words, stdout=told, stderr=subprocess.STDOUT, text=True) as program,
    ):
        try:
            looks, ports = 0, set[int]()
            while looks < LOOKS and _runs(program):
                with contextlib.suppress(OSError):
                    ports = awaited(program.pid)
                    looks = 0 if ports else looks + 1
                if time.monotonic() > end:
                    raise TimeoutError(f"{words} still awaits an answer of the ports {sorted(ports)}")
        finally:
            program.kill()
        told.seek(0)
        return subprocess.CompletedProcess(words, program.wait(), told.read(), "")


def _runs(program: subprocess.Popen[str]) -> bool:
    """Whether it still runs after a while."""
    try:
        program.wait(LOOK_SECONDS)
    except subprocess.TimeoutExpired:
        return True
    return False


def benchmarks(
    program: str,
    servers: Sequence[Server],
    reports: list[subprocess.CompletedProcess[str]],
    stop: threading.Event,
) -> None:
    """One after the other, each through the next server."""
    for server in itertools.cycle(servers):
        if stop.wait(1.0):
            return
        reports.append(benchmark([program, "--cluster", "-p", server.client_port, *LOADS]))
