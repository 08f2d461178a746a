"""Starts and stops the programs under test: waits are bounded, and each process is ended by its own id."""

import itertools
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

T = TypeVar("T")

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 90.0
STOP_SECONDS = 10.0
FIRST_PORT, LAST_PORT = 20_000, 32_000
"""Below the kernel's range of client ports: no client may occupy the port of a stopped node."""

_KRAFT = "import sys; from kraft.cli.main import main; sys.exit(main())"

_candidates = itertools.cycle(range(FIRST_PORT, LAST_PORT))
for _ in range(os.getpid() * 37 % (LAST_PORT - FIRST_PORT)):  # two runs at once rarely try the same ports
    next(_candidates)


class BenchError(Exception):
    """The run cannot continue: a system did not start, gave a wrong answer or was too slow."""


def environment(checkout: Path = ROOT) -> dict[str, str]:
    """The environment in which `kraft` and `bench` come from `checkout`, whatever is installed.

    Bytecode is kept, as for an installed program; otherwise every start would compile the modules again.
    """
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPATH": str(checkout)}


def run_kraft(*arguments: str) -> None:
    """Run the `kraft` command of this checkout to its end. Raises BenchError if it fails."""
    done = subprocess.run(
        [sys.executable, "-c", _KRAFT, *arguments],
        env=environment(ROOT),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise BenchError(f"kraft {arguments[0]}: {done.stderr.strip()}")


class Address(NamedTuple):
    """Where a server listens."""

    host: str
    port: int

    def __str__(self) -> str:
        """HOST:PORT."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def local(port: int) -> Address:
    """The address of a port on this machine."""
    return Address("127.0.0.1", port)


class Process:
    """One program with its log file, running the code in `checkout`; `pid` is stable until `stop()`."""

    def __init__(self, command: Sequence[str], directory: Path, *, name: str, checkout: Path = ROOT) -> None:
        self._command, self._directory, self.name = list(command), directory, name
        self._checkout = checkout
        self._log = directory / f"{name}.log"
        with self._log.open("ab") as log:
            self._popen = subprocess.Popen(
                self._command,
                cwd=directory,
                env=environment(checkout),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.pid = self._popen.pid

    def alive(self) -> bool:
        """Return whether it still runs."""
        return self._popen.poll() is None

    def last_words(self) -> str:
        """Return the end of its log for an error message."""
        return self._log.read_text(errors="replace")[-1500:]

    def kill(self) -> None:
        """Kill it, as a crash would."""
        self._popen.kill()
        self._popen.wait(STOP_SECONDS)

    def stop(self) -> None:
        """Terminate it, and kill it when it does not end."""
        if not self.alive():
            return
        self._popen.terminate()
        try:
            self._popen.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()

    def restarted(self) -> "Process":
        """Start the same program again in the same directory."""
        return Process(self._command, self._directory, name=self.name, checkout=self._checkout)


def wait_for(
    question: Callable[[], T | None],
    what: str,
    processes: Sequence[Process] = (),
    *,
    seconds: float = START_SECONDS,
    every: float = 0.02,
    explain: Callable[[], str] = str,
) -> T:
    """Repeat `question` until it is true; an OSError counts as no. Fails early when a process died.

    The error contains the end of the processes' logs, and what `explain` returns.
    """
    end = time.monotonic() + seconds
    while True:
        try:
            answer = question()
        except OSError:
            answer = None
        if answer:
            return answer
        for process in processes:
            if not process.alive():
                raise BenchError(f"{process.name} ended while waiting for {what}:\n{process.last_words()}")
        if time.monotonic() > end:
            tails = "\n".join(f"--- {process.name}\n{process.last_words()}" for process in processes)
            raise BenchError(f"{what}: not within {seconds:g} s\n{tails}{explain()}")
        time.sleep(every)


def listening(port: int) -> bool:
    """Return whether the port accepts connections."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_ports(count: int) -> list[int]:
    """Return unused ports; no port is returned twice in one run until all were used."""
    ports: list[int] = []
    for port in itertools.islice(_candidates, LAST_PORT - FIRST_PORT):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        ports.append(port)
        if len(ports) == count:
            return ports
    raise BenchError("no free ports")
