"""Faults under load: threads that work through all nodes while leaders are killed, paused or cut off."""

import threading
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import redis

from tests.cluster.harness import Cluster, Server, wait_until
from tests.cluster.proxy import Cuts

CALL_SECONDS = 40.0  # far above client.write_timeout and client.leader_wait: no answer by then is a fault
NOT_DONE_PREFIXES = ("CLUSTERDOWN", "BUSY", "MISCONF")
STEP = 100  # requests, where they take milliseconds
STEP_SECONDS = 60.0

Worker = Callable[[threading.Event], None]
"""Works until the event is set."""
Progress = Callable[[], None]
"""Returns when a step more requests are done."""
Fault = Callable[[Cluster, Progress], None]
"""Does harm to the leader, lets the others work on, and undoes it."""


def kill(cluster: Cluster, progress: Progress) -> None:
    """The process is gone, as in a crash, and comes back."""
    leader = cluster.leader()
    leader.kill()
    progress()
    leader.start()
    cluster.wait_serving(leader)


def pause(cluster: Cluster, progress: Progress) -> None:
    """The process stands still, and does not know for how long."""
    leader = cluster.leader()
    leader.pause()
    progress()
    leader.resume()
    cluster.wait_serving(leader)


def cut_off(cuts: Cuts) -> Fault:
    """The others do not hear the leader, nor does it hear them; its clients do."""

    def fault(cluster: Cluster, progress: Progress) -> None:
        leader = cluster.leader()
        cuts.cut(leader.id)
        progress()
        cuts.heal(leader.id)
        cluster.wait_serving(leader)

    return fault


def on_every_node(cluster: Cluster, work: Callable[[Server, int, threading.Event], None]) -> list[Worker]:
    """Two workers for each node: each runs `work(server, number, stop)` again if its connection is lost."""

    def run(server: Server, number: int, stop: threading.Event) -> None:
        while not stop.is_set():
            try:
                work(server, number, stop)
            except (OSError, redis.ConnectionError):
                stop.wait(0.05)  # the node is down

    return [partial(run, server, number) for number, server in enumerate([*cluster, *cluster])]


def under_faults(
    cluster: Cluster,
    workers: Sequence[Worker],
    done: Callable[[], int],
    faults: Iterable[Fault] = (kill, kill, kill),
    step: int = STEP,
) -> None:
    """Run the workers in threads, and one fault after the other; `done()` counts what they have done.

    `step` requests are done before a fault, and while it lasts.
    """
    stop = threading.Event()
    failures: list[str] = []

    def run(worker: Worker) -> None:
        try:
            worker(stop)
        except Exception as failure:
            failures.append(f"{failure!r}: {failure}")

    def progress() -> None:
        most = done() + step
        wait_until(lambda: bool(failures) or done() >= most, "the work goes on", STEP_SECONDS)

    threads = [threading.Thread(target=run, args=(worker,)) for worker in workers]
    for thread in threads:
        thread.start()
    try:
        for fault in faults:
            progress()
            if failures:
                break
            fault(cluster, progress)
        progress()
    finally:
        stop.set()
        for thread in threads:
            thread.join(2 * CALL_SECONDS)
    assert not failures, failures
    assert not any(thread.is_alive() for thread in threads)
