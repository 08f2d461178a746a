"""Writers, who read as well, that know what must be true afterwards, while nodes are killed under them.

Each writer is a thread with keys of its own, one command outstanding, and a memory of every outcome: done,
certainly not done, unknown. Nobody else writes its keys, so each reply is checked at once, the end exactly.
"""

import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from types import TracebackType
from typing import Self

from tests.cluster.harness import Server, wait_until
from tests.cluster.wire import Client, Refusal

RETRY_PAUSE_SECONDS = 0.01  # after a refused connection: the node is down
PAUSE_SECONDS = 0.005  # between requests of a client: without it, a few clients keep both cores of CI busy
CALL_TIMEOUT_SECONDS = (
    40.0  # far above client.write_timeout and client.leader_wait: no answer by then is a fault
)


@dataclass
class Writer:
    """One thread's keys: a counter it increments, and marks it sets once each."""

    name: str
    servers: Sequence[Server]
    first: int
    counted: int = 0  # the counter's last acknowledged value
    unknown: int = 0  # increments of unknown outcome since then
    marks: list[int] = field(default_factory=list)  # acknowledged
    acknowledged_at: list[tuple[float, float]] = field(
        default_factory=list
    )  # (call, reply), monotonic seconds
    faults: list[str] = field(default_factory=list)
    refusals: Counter[str] = field(default_factory=Counter)  # error replies by prefix

    def run(self, stop: threading.Event) -> None:
        """Write, turning to the next node when the connection is lost, until told to stop."""
        place, mark = self.first, 0
        while not stop.is_set():
            try:
                server = self.servers[place % len(self.servers)]
                with server.client(CALL_TIMEOUT_SECONDS) as client:
                    while not stop.wait(PAUSE_SECONDS) and server in self.servers:
                        self._increment(client)
                        mark += 1
                        self._mark(client, mark)
                        self._read(client)
            except TimeoutError:
                self.faults.append(f"{self.name}: no answer in {CALL_TIMEOUT_SECONDS:g}s")
            except OSError:
                stop.wait(RETRY_PAUSE_SECONDS)
            place += 1

    def _increment(self, client: Client) -> None:
        before, called = self.counted, time.monotonic()
        self.unknown += 1  # until the reply says otherwise
        reply = client.call("INCR", f"{self.name}:counter")
        if isinstance(reply, int):
            if not before < reply <= before + self.unknown:
                self.faults.append(
                    f"{self.name}: counted {reply} after {before} with {self.unknown} increments sent since"
                )
            self.counted, self.unknown = reply, 0
            self.acknowledged_at.append((called, time.monotonic()))
        elif self._not_done(reply):
            self.unknown -= 1

    def _mark(self, client: Client, mark: int) -> None:
        reply = client.call("SET", f"{self.name}:mark:{mark}", mark)
        if reply == "OK":
            self.marks.append(mark)
        else:
            self._not_done(reply)

    def _read(self, client: Client) -> None:
        reply = client.call("GET", f"{self.name}:counter")
        if isinstance(reply, Refusal):
            if not self._not_done(reply):
                self.faults.append(f"{self.name}: a read has no uncertain outcome")
        elif not self.counted <= int(reply or 0) <= self.counted + self.unknown:
            self.faults.append(
                f"{self.name}: read {reply!r} after {self.counted} with {self.unknown} increments sent since"
            )

    def _not_done(self, reply: object) -> bool:
        """Whether the answer says that nothing was done; any answer but the known ones is a fault."""
        prefix = reply.prefix if isinstance(reply, Refusal) else ""
        self.refusals[prefix] += 1
        if prefix not in ("UNCERTAIN", "CLUSTERDOWN", "BUSY", "MISCONF"):
            self.faults.append(f"{self.name}: unexpected answer {reply!r}")
        return prefix != "UNCERTAIN"


class Load:
    """Several writers for the length of a `with` block; then `check` reads what they must have left.

    Who takes a server out of `servers`, or puts one in, sends the writers elsewhere.
    """

    def __init__(self, servers: Sequence[Server], writers: int = 6) -> None:
        self.servers = list(servers)
        self.writers = [Writer(f"w{number}", self.servers, number) for number in range(writers)]
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self._threads = [
            threading.Thread(target=writer.run, args=(self._stop,), name=writer.name)
            for writer in self.writers
        ]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    @property
    def acknowledged(self) -> int:
        """Increments acknowledged so far."""
        return sum(len(writer.acknowledged_at) for writer in self.writers)

    def advance(self, count: int) -> None:
        """Wait until `count` more increments are acknowledged."""
        goal = self.acknowledged + count
        wait_until(lambda: self.acknowledged >= goal, f"{count} more acknowledged writes")

    def stay_at(self, servers: Sequence[Server]) -> None:
        """One writer more for each of these, before the start, that connects to no other node."""
        for server in servers:
            self.writers.append(Writer(f"w{len(self.writers)}-{server.id}", [server], 0))

    @property
    def refusals(self) -> Counter[str]:
        """Error replies so far, by prefix."""
        return sum((writer.refusals for writer in self.writers), Counter())

    def longest_gap(self, since: float, until: float) -> float:
        """The longest time in which one of the writers got no write acknowledged, in seconds.

        Moments are monotonic seconds; a gap counts from the last reply before `since`, to the first after
        `until`.
        """
        gaps = []
        for writer in self.writers:
            replies = [replied for _, replied in writer.acknowledged_at[-20_000:]]
            gaps += [then - now for now, then in pairwise(replies) if then >= since and now <= until]
        return max(gaps)

    def first_acknowledged_after(self, moment: float) -> float | None:
        """When the first increment that was sent after `moment` was acknowledged, in monotonic seconds."""
        replies = [
            replied
            for writer in self.writers
            for called, replied in writer.acknowledged_at[-1000:]
            if called > moment
        ]
        return min(replies, default=None)

    def check(self, server: Server) -> None:
        """Read everything back through `server`: nothing acknowledged is lost, nothing counted twice."""
        for writer in self.writers:
            assert writer.faults == []
            with server.client() as client:
                counter = int(client.call("GET", f"{writer.name}:counter") or 0)
                assert writer.counted <= counter <= writer.counted + writer.unknown, writer.name
                for start in range(0, len(writer.marks), 500):
                    marks = writer.marks[start : start + 500]
                    found = client.call("MGET", *(f"{writer.name}:mark:{mark}" for mark in marks))
                    assert found == [str(mark).encode() for mark in marks], writer.name
