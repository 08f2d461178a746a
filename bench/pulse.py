"""A write at fixed times on a connection of its own, whatever the replies do: it shows pauses of writers.

Clients that wait for each reply send nothing during a pause, so that their percentiles hardly see it. Here
the latency of a write counts from its time, and the longest one is the longest pause.
"""

import select
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType

from bench.client import ONE_KEY, command
from bench.load_generator import OK, SILENCE_SECONDS, Connection, connect
from bench.measure import percentile, resident_mb
from bench.processes import Address, BenchError

EVERY_SECONDS = 0.005
MEMORY_EVERY = 20  # pulses
WRITE = (command(b"SET", ONE_KEY, b"x" * 64), OK)


@dataclass(frozen=True, slots=True)
class Beat:
    """What a pulse has seen: `pause_ms` is the longest latency, `most_mb` the most memory of a process."""

    writes: int
    p50_ms: float
    p99_ms: float
    p999_ms: float
    pause_ms: float
    most_mb: float


class Pulse:
    """Writes from the beginning of a `with` block to its end; `beat` is then what it has seen.

    Raises BenchError at the end if a write was refused, or not answered within SILENCE_SECONDS.
    """

    beat: Beat

    def __init__(self, address: Address, pids: Sequence[int] = ()) -> None:
        self._address, self._pids = address, pids
        self._stopping = threading.Event()
        self._failure = ""
        self._latencies: list[float] = []
        self._most_mb = 0.0
        self._thread = threading.Thread(target=self._guarded)

    def __enter__(self) -> "Pulse":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._thread.join()
        if error is not None:
            return
        if self._failure or not self._latencies:
            raise BenchError(f"the pulse of {self._address} stopped: {self._failure or 'too soon'}")
        shares = (percentile(self._latencies, share) * 1e3 for share in (0.5, 0.99, 0.999, 1.0))
        p50, p99, p999, pause = (round(figure, 3) for figure in shares)
        self.beat = Beat(len(self._latencies), p50, p99, p999, pause, self._most_mb)

    def _guarded(self) -> None:
        try:
            connection = connect(self._address)
            try:
                self._write(connection)
            finally:
                connection.socket.close()
        except (SystemExit, OSError, BenchError) as error:  # raised by the thread that started this one
            self._failure = str(error)

    def _write(self, connection: Connection) -> None:
        start, sent, heard = time.perf_counter(), 0, time.perf_counter()
        while not self._stopping.is_set() or len(self._latencies) < sent:
            now, due = time.perf_counter(), start + sent * EVERY_SECONDS
            if now >= due and not self._stopping.is_set():
                connection.send(WRITE, due)
                if sent % MEMORY_EVERY == 0:
                    self._most_mb = max([self._most_mb, *map(resident_mb, self._pids)])
                sent += 1
            elif select.select([connection.socket], [], [], max(0.0, min(due - now, EVERY_SECONDS)))[0]:
                connection.receive(self._latencies)
                heard = time.perf_counter()
            if len(self._latencies) == sent:
                heard = now
            elif now - heard > SILENCE_SECONDS:
                raise BenchError(f"no reply for {SILENCE_SECONDS:g} s")
