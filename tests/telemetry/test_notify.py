"""What a service manager hears: each datagram at its time, and no sign of life without an answer."""

import contextlib
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from twisted.internet.task import Clock

from kraft.node.status import GroupStatus, MemberStatus, Status
from kraft.telemetry import notify
from kraft.telemetry.notify import Notifier, NotifySocket, in_words, watchdog_seconds


def group(role: str, term: int, commit: int) -> GroupStatus:
    return GroupStatus(
        group=0, role=role, term=term, leader="", first_index=1, last_index=commit, commit=commit,
        applied=commit, voters=(), learners=(), keys=0, expiring_keys=0, expired_keys=0, dataset_bytes=0,
        revision=0, pending_proposals=0, replicas=(),
    )  # fmt: skip


def member(id_: str, *, connected: bool) -> MemberStatus:
    return MemberStatus(id_, "i", "", "", "", True, connected, None, None)


STATUS = Status(
    node="K1", version="0.1", cluster="c", incarnation="i", state="serving", problem="", disk_full=False,
    client="", http="", uptime_seconds=1.0,
    members=(member("K1", connected=True), member("K2", connected=True), member("K3", connected=False)),
    groups=(group("leader", 7, 1234),),
)  # fmt: skip


class Node:
    """A node with this status."""

    def __init__(self, status: Status = STATUS) -> None:
        self._status = status

    def status(self) -> Status:
        return self._status


class Manager:
    """The other end of a notify socket."""

    def __init__(self, name: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + name[1:] if name.startswith("@") else name)
        self._socket.setblocking(False)

    def heard(self) -> list[str]:
        """What came since the last time; the lines of a datagram are joined by a space."""
        said = []
        while True:
            try:
                said.append(self._socket.recv(4096).decode().replace("\n", " "))
            except BlockingIOError:
                return said

    def close(self) -> None:
        self._socket.close()


class Timers:
    """`node.ports.Clock` on Twisted's simulated one."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.seconds = self.clock.seconds
        self.wall_ms = lambda: 0
        self.call_later = self.clock.callLater

    def call_soon(self, call: Callable[[], object]) -> None:
        self.clock.callLater(0, call)


@pytest.fixture
def place(tmp_path: Path) -> str:
    return str(tmp_path / "notify")


@pytest.fixture
def manager(place: str) -> Iterator[Manager]:
    manager = Manager(place)
    yield manager
    manager.close()


class Writer:
    """A writer thread that answers when the test says so."""

    def __init__(self) -> None:
        self.asked: list[Callable[[], None]] = []

    def ping(self, done: Callable[[], None]) -> None:
        self.asked.append(done)

    def answer(self) -> None:
        for done in self.asked:
            done()
        self.asked.clear()


def test_a_leader_in_words() -> None:
    assert in_words(STATUS) == "leader of 1 group, term 7, commit 1234, 1/2 peers"


def test_several_groups_in_words() -> None:
    node = replace(STATUS, groups=(group("follower", 3, 10), group("leader", 4, 5), group("follower", 2, 1)))
    assert in_words(node) == "leader of 1 group, follower of 2 groups, term 4, commit 16, 1/2 peers"


def test_a_problem_comes_first() -> None:
    node = replace(
        STATUS,
        state="leaderless",
        problem="no leader is known for group 0",
        groups=(group("candidate", 9, 4),),
    )
    assert in_words(node) == (
        "leaderless: no leader is known for group 0; candidate of 1 group, term 9, commit 4, 1/2 peers"
    )


def test_a_node_without_groups_says_what_it_does() -> None:
    removed = replace(STATUS, state="removed", problem="K1 was removed from the cluster: wipe it")
    assert in_words(removed) == "K1 was removed from the cluster: wipe it"
    assert in_words(replace(STATUS, groups=(), state="starting", problem="starting")) == "starting"
    assert in_words(replace(STATUS, groups=(), state="serving")) == "serving"


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({}, 0.0),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "42"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "43"}, 0.0),
        ({"WATCHDOG_USEC": "soon"}, 0.0),
    ],
)
def test_the_watchdog_is_for_one_process(environment: dict[str, str], seconds: float) -> None:
    assert watchdog_seconds(environment, 42) == seconds


def test_an_abstract_name_is_a_socket_too() -> None:
    name = "@kraft-test-notify"
    manager = Manager(name)
    NotifySocket({"NOTIFY_SOCKET": name}).send("READY=1", "STATUS=ready")
    assert manager.heard() == ["READY=1 STATUS=ready"]
    manager.close()


@pytest.mark.parametrize("name", ["", "relative", "vsock:2:1"])
def test_other_names_are_no_socket(name: str) -> None:
    assert not NotifySocket({"NOTIFY_SOCKET": name})


def test_a_manager_that_is_gone_costs_nothing(place: str) -> None:
    NotifySocket({"NOTIFY_SOCKET": place}).send("READY=1")


def test_a_manager_that_takes_nothing_costs_a_line(
    place: str, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A queue that is full does not stop the node."""
    monkeypatch.setattr(notify, "SEND_SECONDS", 0.001)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                other.sendto(b"full", place)
    NotifySocket({"NOTIFY_SOCKET": place}).send("LOST=1")
    assert set(manager.heard()) == {"full"}


def test_a_change_is_told_soon_and_once(place: str, manager: Manager) -> None:
    """Several events of an election are one change; before the node is known there is nothing to tell."""
    timers = Timers()
    life = Notifier({"NOTIFY_SOCKET": place}, timers)
    life.changed()
    life.replaying(Node())
    manager.heard()
    life.changed()
    life.changed()
    assert manager.heard() == []
    timers.clock.advance(notify.CHANGE_SECONDS)
    assert manager.heard() == ["STATUS=" + in_words(STATUS)]
    life.changed()
    life.stopping()
    timers.clock.advance(notify.CHANGE_SECONDS)
    assert manager.heard() == ["STOPPING=1 STATUS=transferring leadership, then closing"]


def test_a_status_that_takes_long_is_told_less_often(place: str, manager: Manager) -> None:
    """With a thousand groups it would take most of a core while leaders are elected."""
    timers = Timers()

    class Large(Node):
        def status(self) -> Status:
            timers.clock.rightNow += 0.06
            return super().status()

    life = Notifier({"NOTIFY_SOCKET": place}, timers)
    life.replaying(Large())
    assert len(manager.heard()) == 1
    life.changed()
    timers.clock.advance(1.0)
    assert manager.heard() == []
    timers.clock.advance(5.1)
    assert len(manager.heard()) >= 1


def test_without_a_manager_nothing_happens() -> None:
    timers, writer = Timers(), Writer()
    life = Notifier({"WATCHDOG_USEC": "3000000"}, timers)
    life.opening()
    life.replaying(Node())
    life.changed()
    life.ready(writer)
    life.reloading()
    life.reloaded()
    assert (timers.clock.getDelayedCalls(), writer.asked) == ([], [])
    life.stopping()


def test_a_start_is_told_from_the_first_page_to_the_open_port(place: str, manager: Manager) -> None:
    """While it lasts, it asks for more time with each status."""
    timers = Timers()
    life = Notifier({"NOTIFY_SOCKET": place}, timers)
    life.opening()
    life.replaying(Node(replace(STATUS, groups=(), state="starting", problem="starting")))
    timers.clock.advance(5)
    assert manager.heard() == [
        "STATUS=reading the data directory",
        "STATUS=starting EXTEND_TIMEOUT_USEC=60000000",
        "STATUS=starting EXTEND_TIMEOUT_USEC=60000000",
    ]
    life.ready(Writer())
    timers.clock.advance(5)
    assert manager.heard() == ["READY=1 STATUS=starting", "STATUS=starting"]


def test_what_takes_long_at_a_start_is_the_status_until_the_node_is_ready(
    place: str, manager: Manager
) -> None:
    timers = Timers()
    life = Notifier({"NOTIFY_SOCKET": place}, timers)
    life.replaying(Node(replace(STATUS, groups=(), state="starting", problem="starting")))
    manager.heard()
    life.progressed("replays its log: 1 of 3 entries (33 %)")
    timers.clock.advance(5)
    told = "STATUS=replays its log: 1 of 3 entries (33 %) EXTEND_TIMEOUT_USEC=60000000"
    assert manager.heard() == [told, told]
    life.ready(Writer())
    life.progressed("replays its log: 1 of 2 entries (50 %)")  # after a snapshot
    assert manager.heard() == ["READY=1 STATUS=starting"]


def test_a_sign_of_life_is_an_answer_of_the_writer_thread(place: str, manager: Manager) -> None:
    timers, writer = Timers(), Writer()
    life = Notifier({"NOTIFY_SOCKET": place, "WATCHDOG_USEC": "3000000"}, timers)
    life.ready(writer)
    assert manager.heard() == ["READY=1"]
    for _ in range(3):
        writer.answer()
        timers.clock.advance(1)
    assert manager.heard() == ["WATCHDOG=1"] * 3


def test_a_writer_thread_that_hangs_is_asked_once_and_feeds_nothing(place: str, manager: Manager) -> None:
    """When it comes back, one answer is one sign of life, and it is asked again."""
    timers, writer = Timers(), Writer()
    life = Notifier({"NOTIFY_SOCKET": place, "WATCHDOG_USEC": "3000000"}, timers)
    life.ready(writer)
    timers.clock.pump([1] * 10)
    assert manager.heard() == ["READY=1"]
    assert len(writer.asked) == 1
    writer.answer()
    assert manager.heard() == ["WATCHDOG=1"]
    timers.clock.advance(1)
    assert len(writer.asked) == 1


def test_a_reload_has_a_begin_with_its_time_and_an_end(place: str, manager: Manager) -> None:
    life = Notifier({"NOTIFY_SOCKET": place}, Timers())
    life.ready(Writer())
    life.reloading()
    life.reloaded()
    ready, begin, end = manager.heard()
    assert (ready, end) == ("READY=1", "READY=1")
    assert begin.startswith("RELOADING=1 MONOTONIC_USEC=")
    assert begin.rpartition("=")[2].isdecimal()


def test_a_reload_before_the_ports_are_open_makes_nobody_believe_they_are(
    place: str, manager: Manager
) -> None:
    life = Notifier({"NOTIFY_SOCKET": place}, Timers())
    life.reloading()
    life.reloaded()
    assert manager.heard() == []


def test_after_the_end_began_nothing_else_is_told(place: str, manager: Manager) -> None:
    timers, writer = Timers(), Writer()
    life = Notifier({"NOTIFY_SOCKET": place, "WATCHDOG_USEC": "3000000"}, timers)
    life.replaying(Node())
    life.ready(writer)
    manager.heard()
    life.stopping()
    writer.answer()
    assert manager.heard() == ["STOPPING=1 STATUS=transferring leadership, then closing"]
    assert timers.clock.getDelayedCalls() == []


def test_the_last_words_are_one_line(place: str, manager: Manager) -> None:
    life = Notifier({"NOTIFY_SOCKET": place}, Timers())
    life.failed("Traceback:\n  File x\nOSError: no such disk\n")
    assert manager.heard() == ["STATUS=failed: OSError: no such disk"]
